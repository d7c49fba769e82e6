"""The fault table as a whole; `fault` says what a row means."""

from tests.examine.header_faults import HEADER_FAULTS, IDENTIFIER_FAULTS
from tests.examine.log_faults import LOG_FAULTS
from tests.examine.metadata_faults import METADATA_FAULTS
from tests.examine.region_faults import REGION_FAULTS
from tests.examine.table_faults import TABLE_FAULTS

FAULTS = [*IDENTIFIER_FAULTS, *HEADER_FAULTS, *LOG_FAULTS, *REGION_FAULTS, *METADATA_FAULTS, *TABLE_FAULTS]
