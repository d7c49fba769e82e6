"""Power fails in the middle of a repair: of what was not flushed any part may be lost or torn."""

import random

import pytest

from tests.examine.fault import LOSS, SAFE, Fault
from tests.examine.faults import FAULTS
from tests.examine.header_faults import IDENTIFIER_FAULTS
from tests.support.lying import Crash, Record, crashes
from tests.support.sparse import Content, ContentStorage, content_of
from vhdx.examine import repair as image_repair
from vhdx.examine.check import examine
from vhdx.rules import Severity

SAMPLES = 3
CHOSEN = [fault for fault in FAULTS if fault.repaired == SAFE and fault not in IDENTIFIER_FAULTS][::3]
"""An identifier is made anew before the image is repaired: until then there is nothing to open."""
CHOSEN += [fault for fault in FAULTS if fault.repaired == LOSS and fault.name.startswith(("block", "bitmap"))]
CHOSEN += [fault for fault in FAULTS if fault.name in ("log: file was cut", "log: entry checksum")]


def errors_in(content: Content) -> set[str]:
    report = examine(ContentStorage(content)).report
    return {rule.code for rule, number in report.counts.items() if number and rule.severity is Severity.ERROR}


@pytest.mark.parametrize("fault", CHOSEN, ids=lambda fault: fault.name)
def test_promise_7_no_crash_brings_an_error_that_was_not_there(fault: Fault) -> None:
    content, record = content_of(fault.make()), Record()
    storage = record.storage("image", content)
    image_repair.repair_image(storage, accept_data_loss=fault.repaired == LOSS)
    known, seen = errors_in(content), set[int]()
    assert errors_in(storage.content) == set()
    for crash in crashes(record, random.Random(3), SAMPLES):
        if isinstance(crash, Crash):
            left = crash.files["image"]
            if left.digest not in seen:
                seen.add(left.digest)
                assert errors_in(left) <= known, str(crash)
    assert len(seen) >= 3
