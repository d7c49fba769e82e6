"""The fault table as a whole; `fault` says what a row means."""

from tests.check.header_faults import HEADER_FAULTS, IDENTIFIER_FAULTS
from tests.check.log_faults import LOG_FAULTS
from tests.check.metadata_faults import METADATA_FAULTS
from tests.check.region_faults import REGION_FAULTS
from tests.check.table_faults import TABLE_FAULTS

FAULTS = [*IDENTIFIER_FAULTS, *HEADER_FAULTS, *LOG_FAULTS, *REGION_FAULTS, *METADATA_FAULTS, *TABLE_FAULTS]
