"""The Parquet files of the corpus: the columns of lines and intervals, and how tables are written.

The recorder hands in the two tables of a run, `build` those of a whole split; `corpus` reads them back by the same
schemas. Needs pyarrow and nothing else.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LINES_SCHEMA = pa.schema(
    [
        ("service", pa.string()),
        ("recording", pa.string()),
        ("split", pa.string()),
        ("line_number", pa.int32()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("scenario", pa.string()),
        ("fault", pa.string()),
        ("label", pa.int8()),
        ("line", pa.string()),
    ]
)
INTERVALS_SCHEMA = pa.schema(
    [
        ("service", pa.string()),
        ("recording", pa.string()),
        ("scenario", pa.string()),
        ("fault", pa.string()),
        ("start", pa.timestamp("us", tz="UTC")),
        ("end", pa.timestamp("us", tz="UTC")),
        ("visible", pa.string()),
    ]
)


def intervals_path(path: Path) -> Path:
    """Where the intervals of a run's lines in `path` go: `x.parquet` has `x_intervals.parquet`."""
    return path.with_name(f"{path.stem}_intervals{path.suffix}")


def write_table(table: pa.Table, target: Path) -> None:
    """Write a Parquet file, all of it or nothing."""
    partial = target.with_name(target.name + ".partial")
    try:
        # Text compresses best in one page, next to its like; ever-growing numbers compress best as differences.
        growing = {"line_number", "time", "start", "end"}
        pq.write_table(
            table,
            partial,
            compression="zstd",
            compression_level=22,
            row_group_size=1 << 20,
            data_page_size=1 << 26,
            use_dictionary=[name for name in table.column_names if name not in {*growing, "line"}],
            column_encoding={name: "DELTA_BINARY_PACKED" for name in table.column_names if name in growing},
            write_statistics=False,
        )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def write_tables(lines: pa.Table, intervals: pa.Table, path: Path) -> None:
    """Write a run's lines to `path` and its intervals beside it; the lines come last and say that both are there."""
    write_table(intervals, intervals_path(path))
    write_table(lines, path)
