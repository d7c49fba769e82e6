"""One function over many images, on any executor; what comes of it is a table.

    import vhdx.fleet

    for row in vhdx.fleet.run(["/srv/profiles"], "check"):
        print(row["path"], row["result"], row["error"])

Each image is one row, also the one that cannot be looked at. Parquet and Dask need the extra `vhdx[fleet]`;
threads, processes, CSV and lines of JSON need nothing else.
"""

from vhdx.fleet.options import FleetOptions
from vhdx.fleet.run import run

__all__ = ["FleetOptions", "run"]
