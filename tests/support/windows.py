"""What of the tests cannot run on Windows, or under Wine, and why: the one list of it.

A test that itself calls what only POSIX has is skipped with the name of it. The same call in the source is
a failure.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

_SOURCE = Path(__file__).parents[2] / "src"
_LACKING = re.compile(
    r"has no attribute '(AF_UNIX|SIGHUP|SIGKILL|SEEK_DATA|O_NONBLOCK|fdatasync|fork|forkpty|geteuid|getuid|"
    r"killpg|memfd_create|mkfifo|mknod|openpty|posix_fadvise|pread|preadv|pwrite|pwritev|register_at_fork|sendmsg|"
    r"setsid|st_blocks|statvfs|waitpid)'"
)

_SPARSE = "its files of many GiB are sparse on Linux, which no file is here"
_CLONES = "file systems on which Linux shares space"
_SLOW = "takes minutes under Wine; Linux runs it, and nothing of it knows its host"

POSIX_ONLY = {
    "blobs/*": "Azurite runs in Node.js, which Wine has not",
    "cli/test_interrupted.py": "signals and pseudo-terminals of Unix",
    "cli/test_serve.py": "Unix sockets; tests/windows serves on TCP, and test_serve_refused runs",
    "cli/test_signals.py": "signals of Unix",
    "cli/test_terminal.py": "pseudo-terminals of Unix",
    "client/test_export.py": "nbdkit and qemu-nbd serve on Unix sockets",
    "disk/test_cost.py": "counts system calls of POSIX",
    "disk/test_typed.py": "the type checker is not installed there",
    "disk/test_untouched.py": "watches system calls of POSIX",
    "disk/test_unreadable.py": "files of which the host refuses parts are made by mounting",
    "docs/*": "the examples run in a shell of Unix",
    "hostile/test_flips.py": _SLOW,
    "hostile/test_limits.py": _SLOW,
    "mount/*": "Windows has no FUSE",
    "nbd/test_clients.py": "serves on Unix sockets",
    "chains/test_states.py": _SLOW,
    "ops/make/test_clone.py": _CLONES,
    "ops/make/test_convert_device.py": "loop devices of Linux",
    "ops/make/test_convert_killed.py": "file systems and devices of Linux; tests/cli/test_windows.py kills",
    "ops/make/test_full_disk.py": "replaces functions of POSIX",
    "ops/make/test_convert_dynamic_vhd.py": _SLOW,
    "ops/test_compact_killed.py": "signals of Unix",
    "ops/test_shared.py": _CLONES,
    **dict.fromkeys(
        (
            "remote/test_azure_objects.py",
            "remote/test_clouds_page.py",
            "remote/test_google_uploads.py",
            "remote/test_objects.py",
            "remote/test_upload.py",
        ),
        "moto, botocore, obstore and Azurite are not installed there",
    ),
    "soak/*": "signals of Unix",
    "support/test_support.py": "about what tests are made of, which is the same everywhere",
    "storage/test_sparse.py": "types of file systems as Linux names them",
    "storage/test_locks.py": "locks of POSIX; those of Windows: tests/storage/test_windows.py",
    "storage/test_meanwhile.py": "others act at system calls of POSIX",
    "storage/test_publish_killed.py": "dies at system calls of POSIX",
    "storage/test_macos.py": "calls of macOS, faked with those of POSIX",
    "windows/*": "run on Linux, and run this Python",
    "write/test_close_failed.py": "locks of POSIX",
    "write/test_commit_interval.py": "locks of POSIX",
    "write/test_faults.py": "makes system calls of POSIX fail",
    "write/test_hazards.py": "forks",
    "write/test_host_full.py": "replaces functions of POSIX",
    "write/test_locks.py": "locks of POSIX; those of Windows: tests/storage/test_windows.py",
    "write/test_large.py": _SPARSE,
    "write/test_space.py": "makes system calls of POSIX fail",
    "write/test_zero_trim.py": "makes system calls of POSIX fail",
}
"""Files below ``tests`` that are not even imported."""

_NO_LINKS = "Wine makes no symbolic links; Windows wants a right for them"
_NAMES_NOBODY = "the restart manager of Wine names nobody who holds a file"
_GETPPID = "Wine lacks the system call of os.getppid and ends the process"
_RENAMED = "Windows names new files by renaming, not by hard links"
_HANDLES = "files have handles there, not numbers of the C library"
_LONG = "Wine resolves no path of more than 260 characters"
_ALIKE = "names that differ only in case are one name on Windows"
_NO_HOLES = "the files of Windows have no holes unless somebody asks for them"

_GROWS = "files grow under Wine without taking space, which a fixed image tells; those of Windows take it"
_NO_LIMIT = "Windows has no limit of a process' memory that is its own to set"
_NO_UNIX_FILE = "Wine gives Python no Unix file for its standard output"
_NO_FUSE = "Windows has no FUSE, and says so first"

NOT_HERE = {
    "*interop/*::test_reads_large_disks*": _SPARSE,
    "*make/test_convert.py::test_a_large_hole*": _SPARSE,
    "*make/test_convert.py::test_a_layer_is_no_target*symbolic link*": _NO_LINKS,
    "*make/test_convert.py::test_from_a_pipe[[]pieces[1-4]*": _SLOW,
    "*make/test_convert.py::test_from_a_pipe[[]pieces0-arguments1*": _GROWS,
    "*make/test_convert.py::test_progress_counts_data*": _NO_HOLES,
    "*make/test_convert_vhd.py::test_nothing_is_left_of_a_failure": "makes a system call of POSIX fail",
    "*make/test_convert.py::test_every_byte_over_a_chunk*": _SLOW,
    "*make/test_create.py::test_every_byte_of_fixed_tables*": _SLOW,
    "*make/test_convert_vhd.py::test_the_largest": _SPARSE,
    "*make/test_measure.py::test_large_disks_need_no_memory": _SPARSE,
    "*make/test_convert_vhd.py::test_zeros_take_no_space": _NO_HOLES,
    "*ops/test_compact.py::test_a_fixed_image_keeps_its_size*": _NO_HOLES,
    "*ops/test_compact.py::test_holes_are_made*": _NO_HOLES,
    "*ops/test_compact.py::test_where_nothing_is_to_be_gained*": _NO_HOLES,
    "*ops/test_compact.py::test_progress_ends*": _NO_HOLES,
    "*ops/test_compact.py::test_a_table_of_64_tib*": _SLOW,
    "*ops/test_compact_estimate.py::test_the_estimate_is_what_is_done": _NO_HOLES,
    "*ops/test_info.py::test_nothing_stays_open*": "counts descriptors of Linux",
    **dict.fromkeys(
        (
            "*fleet/test_reports.py::test_a_part_is_whole_or_not_there",
            "*fleet/test_reports.py::test_the_schema_is_what_is_told*",
            "*fleet/test_reports.py::test_programs_of_others_read_every_kind",
        ),
        "DuckDB and polars do not load under Wine",
    ),
    "*fleet/test_command.py::test_a_compaction_of_many*[[]2]": "one process sends no SIGINT to another there",
    "*fleet/test_command.py::test_compact_and_its_log": _NAMES_NOBODY,
    "*fleet/test_isolate.py::test_a_hostile_image_is_a_row[[]memory]": _NO_LIMIT,
    "*fleet/test_isolate.py::test_little_memory_is_told": _NO_LIMIT,
    "*fleet/test_pages.py::test_a_picture": "resvg does not load under Wine",
    "*fleet/test_pages.py::test_names_that_are_html": "no name has < and > there",
    "*fleet/test_pages.py::test_the_bytes_of_a_vhd_and_of_a_raw_disk": _NO_HOLES,
    "*fleet/test_reports.py::test_names_that_are_no_text": "names there are text",
    "*fleet/test_run.py::test_an_image_in_use*": _NAMES_NOBODY,
    "*fleet/test_run.py::test_dask*": "Dask is not installed there",
    **dict.fromkeys(
        (
            "*chains/test_tree.py::test_nothing_to_do",
            "*chains/test_tree.py::test_vhds_are_drawn",
            "*chains/test_tree.py::test_a_vhd_gets_no_other_parent*",
            "*chains/test_tree.py::test_a_directory_that_is_not_there*",
        ),
        "expects paths and errors in the words of POSIX",
    ),
    "*disk/test_raw.py::test_holes_are_told": _NO_HOLES,
    "*disk/test_raw.py::test_zeros_are_a_hole*": _NO_HOLES,
    "*disk/test_raw.py::test_trim_gives_space_back*": _NO_HOLES,
    "*disk/test_raw.py::test_only_what_is_fast*": _NO_HOLES,
    "*disk/test_foreign.py::test_every_verb*": _SLOW,
    "*disk/test_foreign.py::test_compressed*": _SLOW,
    "*files/test_volumes.py::test_noise_is_refused[[]btrfs]": "dissect.btrfs is not installed there",
    "*test_insert.py::test_what_a_fat_cannot_have_is_told": "Windows has none of these names either",
    "*ops/files/test_copy.py::test_links_in_the_way*": _NO_LINKS,
    "*ops/files/test_copy.py::test_links_that_were_there*": _NO_LINKS,
    "*ops/files/test_copy.py::test_a_link_swapped_in*": _NO_LINKS,
    "*ops/files/test_copy.py::test_nothing_acts_as_somebody_else": "Windows has no modes",
    "*ops/files/test_copy.py::test_devices_only_where_wanted": "Windows has no devices among files",
    "*cli/test_convert.py::test_what_it_says": _NO_HOLES,
    "*cli/test_costs.py::test_signs_of_terminals[[]C-utf-8*": "locales of POSIX",
    "*cli/test_costs.py::test_signs_of_terminals[[]-utf-8*": "locales of POSIX",
    "*cli/test_dash.py::test_who_writes_to_what_it_serves*[[]mount*": _NO_FUSE,
    "*cli/test_dash.py::test_who_writes_to_what_it_serves*--socket*": "Python has no Unix sockets there",
    "*cli/test_measure.py::test_what_it_says": _NO_HOLES,
    "*cli/test_measure.py::test_json": _NO_HOLES,
    "*cli/test_pipes.py::test_nothing_is_written_into_a_file_of_the_source": _NO_UNIX_FILE,
    "*cli/test_serve_refused.py::test_what_is_refused[[]words2-*": "Python has no Unix sockets there",
    "*cli/test_serve_refused.py::test_what_is_refused[[]words5-*": "names there are text",
    "*cli/test_serve_refused.py::test_two_images_that_clients_are_told_alike*": "no names there",
    "*cli/test_vhd.py::test_raw_disks_are_changed": _NO_HOLES,
    "*cli/test_start.py::test_a_conversion_needs*": "google_crc32c looks for its DLL by half of the library",
    "*cli/test_start.py::test_listing_needs*": "the programs that make file systems are those of Linux",
    "*cli/test_start.py::test_the_modules_of*": "the storage of Windows has other modules",
    "*cli/test_pipes.py::test_where_there_is_no_room*": _NO_UNIX_FILE,
    "*cli/test_pipes.py::test_a*_that_does_not_wait_*": "no pipe of Windows can be told not to wait",
    "*cli/test_pipes.py::test_a_full_host*": _NO_UNIX_FILE,
    "*cli/test_main.py::test_an_image_that_is_in_use": _NAMES_NOBODY,
    "*cli/test_main.py::test_standard_output_that_is_full*": _NO_UNIX_FILE,
    "*cli/test_main.py::test_names_of_any_bytes*": "names there are text; tests/cli/test_windows.py",
    "*test_publish.py::TestWithoutHardLinks::*": _RENAMED,
    "*test_publish.py::test_other_failures_of_the_link*": _RENAMED,
    "*test_publish.py::TestLinks::test_to_*": _NO_LINKS,
    "*test_publish.py::TestLinks::test_into_*": _NO_LINKS,
    "*test_publish.py::TestLocks::test_through_a_link": _NO_LINKS,
    "*test_publish.py::TestLocks::test_a_reader_of_our_own": _NAMES_NOBODY,
    "*test_publish.py::TestLocks::test_a_read_only_image*": "Windows replaces no file that is read-only",
    "*test_publish.py::test_a_name_that_is_too_long*": "Wine refuses such a name only when it is used",
    "*test_publish.py::test_the_longest_name*": "Windows has another error for it, and Wine yet another",
    "*test_publish.py::test_what_hosts_say_that_have_no_links*": _RENAMED,
    "*test_publish.py::test_a_claim_that_somebody_replaces*": _RENAMED,
    "*test_parts.py::test_what_is_held_stays*": "locks of POSIX",
    "*test_parts.py::test_without_locks_the_number_alone*": "locks of POSIX",
    "*test_parts.py::test_what_a_running_process*": _GETPPID,
    "*test_parts.py::test_a_number_that_another*": _GETPPID,
    "*test_parts.py::test_a_host_that_asks_by_locking": "locks of macOS",
    "*test_file.py::test_a_file_that_is_cut_while_it_is_read*": "nobody cuts a file there that is locked",
    "*test_file.py::test_the_number_of_a_closed_descriptor*": _HANDLES,
    "*test_file.py::test_descriptors_are_not_inherited": _HANDLES,
    "*test_file.py::test_no_image_has_the_number_of_a_standard_stream": _HANDLES,
    "*test_file.py::test_two_names_of_one_file*": _NO_LINKS,
    "*test_file.py::test_promise_22_holes_are_told*": _NO_HOLES,
    "*test_file.py::test_promise_22_where_the_host_tells_no_holes*": _NO_HOLES,
    "*test_interrupts.py::*": _SLOW,
    "*test_reentry.py::test_signals_that*": "Windows has no alarm",
    "*test_reentry.py::test_a_fork*": "Windows has no fork",
    "*test_public.py::test_results_stand_in_one_line": _LONG,
    "*test_public_face.py::test_each_name_can_be_had*": _SLOW,
    "*fuzz/test_corpus.py::test_the_corpus_of[[]repair]": _SLOW,
    "*fuzz/test_corpus.py::test_the_corpus_of[[]look]": _SLOW,
    "*fuzz/test_corpus.py::test_the_corpus_of[[]write]": _SLOW,
    "*test_packing.py::test_one_run_gives*": _SLOW,
    "*remote/test_remote.py::*[[]s3]": "s3fs is not installed there",
    "*test_keywords.py::test_an_empty_range_is_refused[[]trim-raw]": _NO_HOLES,
    "*test_parent_names.py::test_of_names_that_are_alike*": _ALIKE,
    "*test_vhd.py::test_paths_out_of_the_directory*locator1*": _NO_LINKS,
    "*test_vhd.py::*deep*": _SLOW,
    "*chains/test_diff.py::test_every_sector_of_random_chains*": _SLOW,
    "*chains/test_increment.py::test_many_changes_are_kept*": _SLOW,
    "*make/test_ahead.py::test_memory_is_bounded_also*": _NO_HOLES,
    "*make/test_atomic.py::test_who_has_the_old_file_open*": "Windows replaces no file that is open",
    "*make/test_carve.py::test_nothing_is_overwritten*": _NO_LINKS,
    "*make/test_create.py::test_a_fixed_image_has_its_space*": "the files of Wine have holes behind its back",
    "*make/test_create.py::test_permissions_follow*": "Windows has no modes",
    "*examine/test_check.py::test_a_naive_twin_agrees": _SLOW,
    "*examine/test_check.py::test_no_damage_makes_check_fail*": _SLOW,
    "*examine/test_faults.py::test_check_finds_exactly_this*": _SLOW,
    "*examine/test_faults.py::test_opening_fails_where_the_table_says*": _SLOW,
    "*examine/test_losses.py::test_some_losses_of_each_image*": _SLOW,
    "*examine/test_lost_entries.py::test_a_fixed_image_gets_its_table_back*": _SLOW,
    "*examine/test_lost_entries.py::test_lost_entries_are_errors_and_doubts*": _SLOW,
    "*examine/test_lost_entries.py::test_no_byte_of_a_lost_block_goes*": _SLOW,
    "*examine/test_repair.py::test_no_damage_is_made_worse*": _SLOW,
    "*examine/test_repair.py::test_not_a_digit_of_a_backup_may_be_another*": _SLOW,
    "*examine/test_repair.py::test_repair_does_what_the_table_says*": _SLOW,
    "*examine/test_repair.py::test_staged_zeros_take_no_space": _NO_HOLES,
    "*examine/test_table.py::test_a_small_sound_image_is_checked_without_numpy*": _SLOW,
    "*disk/test_chain.py::test_promise_1_a_random_chain*": _SLOW,
    "*disk/test_slice.py::test_changes_stay*": _SLOW,
    "*test_pread.py::test_promise_1_every_state_type_and_sector_size*differencing*": _SLOW,
    "*nbd/test_kill.py::test_promise_24*": "serves on Unix sockets; tests/windows serves on TCP",
    "*test_parents.py::*link*": _NO_LINKS,
    "*test_merge.py::test_the_space_that_counts*": _NO_LINKS,
    "*test_merge.py::test_a_child_named_by_a_link*": _NO_LINKS,
    "*test_diff.py::test_a_link_to_an_ancestor*": _NO_LINKS,
    "*test_create_child.py::test_a_parent_whose_name_is_no_text*": "names there are text, or no file's",
    "*test_parents.py::test_promise_19_a_device_is_no_parent*": "devices of Unix",
    "*test_parents.py::test_promise_19_a_chain_of_256*": "opening 257 files takes minutes under Wine",
}
"""Single tests, by patterns of their names."""


def ignored(path: Path) -> bool:
    """Whether a file of tests is not imported."""
    relative = path.relative_to(Path(__file__).parents[1]).as_posix()
    return any(fnmatch(relative, pattern) for pattern in POSIX_ONLY)


def mark(items: Iterable[pytest.Item]) -> None:
    """Skip single tests, each with its reason."""
    for item in items:
        for pattern, reason in NOT_HERE.items():
            if fnmatch(item.nodeid, pattern):
                item.add_marker(pytest.mark.skip(reason=reason))


def skip_for_want_of_posix(call: pytest.CallInfo[Any]) -> None:
    """Make a skip of a failure that only says that the test calls what Windows lacks."""
    if call.excinfo is None:
        return
    paths = [Path(entry.path) for entry in call.excinfo.traceback]
    what = _lacking(call.excinfo.value, paths)
    if what is not None and not any(path.is_relative_to(_SOURCE) for path in paths):
        skipped = pytest.skip.Exception(
            f"the test calls {what}, which Windows lacks", _use_item_location=True
        )
        call.excinfo = pytest.ExceptionInfo.from_exc_info((type(skipped), skipped, call.excinfo.tb))


def _lacking(error: BaseException, paths: list[Path]) -> str | None:
    """What a test called that Windows lacks; None if the error says something else."""
    said = str(error)
    if isinstance(error, AttributeError):
        lacking = _LACKING.search(said)
        return lacking[1] if lacking else None
    if isinstance(error, ModuleNotFoundError):
        return "fcntl" if "'fcntl'" in said else None
    if isinstance(error, FileNotFoundError) and paths[-1].name == "subprocess.py":
        return "a program of Linux"
    return None
