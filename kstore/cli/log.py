"""`kstore log`: what lies in log directories, and what is wrong with it. Needs no broker, and changes nothing."""

import argparse
import sys

from kstore.cli.arguments import Commands, add_command, add_group, add_json
from kstore.cli.errors import FAILED, UsageError

KINDS = ("log", "index", "timeindex", "txnindex", "snapshot", "checkpoint", "epochs", "offsets", "properties")

DUMP_EXAMPLES = """
kstore log dump data/orders-0                               all files of a partition, batch by batch
kstore log dump data/orders-0 --records --offsets 100:120   some of its records
kstore log dump data --only epochs,snapshot                 two kinds of files of all partitions
kstore log dump data/__consumer_offsets-* --records         committed offsets and groups, decoded
kstore log dump data --json | jq 'select(.type == "batch" and .producer_id >= 0)'
"""

VERIFY_EXAMPLES = """
kstore log verify /var/lib/kstore                   a log directory
kstore log verify /disk1/kafka /disk2/kafka         all directories of one broker
kstore log verify data/orders-0 && echo sound       one partition, in a script
kstore log verify data --json | jq 'select(.severity == "damage")'
"""


def add_commands(commands: Commands) -> None:
    group = add_group(commands, "log", "read log directories of kstore and of Kafka, without a broker")
    dump = add_command(
        group,
        "dump",
        run_dump,
        summary="show batches, records, indexes, epochs, snapshots, checkpoints",
        description=(
            "Shows what the files of a log directory, of a partition, or a single file hold. Reads only, also beside"
            " a running broker.\nExit status: 0 all was shown; 1 some of it is damaged; 2 a path cannot be read."
        ),
        examples=DUMP_EXAMPLES,
    )
    dump.add_argument("paths", nargs="+", metavar="PATH", help="a log directory, a partition's directory, or a file")
    dump.add_argument("--records", action="store_true", help="records too, those of Kafka's own topics decoded")
    dump.add_argument("--raw", action="store_true", help="records as they are, without decoding")
    dump.add_argument("--full", action="store_true", help="whole keys and values; else 100 characters of each")
    dump.add_argument("--offsets", metavar="FROM:TO", type=offset_range, help="only batches and records of these")
    dump.add_argument("--only", metavar="KINDS", type=kinds, help=f"files of these kinds: {','.join(KINDS)}")
    add_json(dump)
    verify = add_command(
        group,
        "verify",
        run_verify,
        summary="say what is wrong with log directories",
        description=(
            "Reads all of a log directory, or of a partition, and says what is wrong: CRCs, offsets, epochs, sequences,"
            "\nindexes, snapshots, checkpoints, left-overs. Reads only, also beside a running broker."
            "\nExit status: 0 sound, there may be notices; 1 damage was found; 2 a path cannot be read."
        ),
        examples=VERIFY_EXAMPLES,
    )
    verify.add_argument("paths", nargs="+", metavar="DIR", help="a log directory, or a partition's directory")
    verify.add_argument("--strict", action="store_true", help="notices too make the exit status 1")
    verify.add_argument("--quiet", action="store_true", help="no progress and no last line, only what is found")
    add_json(verify)


def offset_range(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    try:
        wanted = int(first or 0), int(last) if last else (2**63 - 1 if colon else int(first))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no range of offsets such as 100:120, 100: or 100") from None
    return wanted


def kinds(text: str) -> tuple[str, ...]:
    wanted = tuple(text.split(","))
    for kind in wanted:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"'{kind}' is none of {','.join(KINDS)}")
    return wanted


def run_dump(options: argparse.Namespace) -> int:
    from kstore.cli.logs.dump import Dump, DumpOptions
    from kstore.cli.logs.files import find_files

    first_offset, last_offset = options.offsets or (0, 2**63 - 1)
    dump = Dump(
        sys.stdout,
        DumpOptions(options.json, options.records, options.full, not options.raw, first_offset, last_offset),
    )
    try:
        for path in options.paths:
            for file in find_files(path):
                if options.only is None or file.kind in options.only:
                    dump.file(file)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror or error}") from error
    return FAILED if dump.damaged else 0


def run_verify(options: argparse.Namespace) -> int:
    from kstore.cli.logs.verify import verify

    try:
        findings = verify(options.paths, as_json=options.json, quiet=options.quiet)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{error.filename or 'reading'}: {error.strerror or error}") from error
    return FAILED if findings.damage or (options.strict and findings.notices) else 0
