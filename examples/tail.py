"""tail -f for a log, whoever writes it: a Log, a store, a kstore broker, a Kafka. Nothing is locked or changed.

python examples/tail.py events                      a directory of Log.open
python examples/tail.py /var/lib/kafka/orders-0     a partition of a Kafka that is running now
python examples/tail.py -n 5 events                 the last five first
python examples/tail.py -n 5 --no-follow events     and no more
"""

import argparse
import datetime
import sys

import kstore


def line(record: kstore.Record) -> str:
    when = datetime.datetime.fromtimestamp(record.timestamp_ms / 1000, datetime.UTC)
    key = "-" if record.key is None else record.key.decode(errors="replace")
    value = "(null)" if record.value is None else record.value.decode(errors="replace")
    headers = "".join(f" {name}={(content or b'').decode(errors='replace')}" for name, content in record.headers)
    return f"{record.offset} {when:%Y-%m-%d %H:%M:%S} {key} {value}{headers}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Shows the end of a log, and what comes.")
    parser.add_argument("path", help="the directory of a log or of a partition")
    parser.add_argument("-n", type=int, default=10, metavar="N", help="how many records first (10)")
    parser.add_argument("--no-follow", action="store_true", help="end there")
    options = parser.parse_args()
    try:
        with kstore.Log.open(options.path, readonly=True) as log:
            first = max(log.start_offset, log.end_offset - options.n)
            for record in log.read(first) if options.no_follow else log.follow(first):
                print(line(record), flush=True)
    except (kstore.KstoreError, OSError) as error:
        sys.exit(f"tail: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
