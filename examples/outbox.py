"""An outbox: orders go into a database, and out of it to whoever wants to hear of them, none lost and none made up.

    python examples/outbox.py outbox.db orders-log

The order and its event are one transaction of SQLite. A relay takes events in their order and appends them to a log.
It may die at any moment: what is in the log already it finds by the number of the event, which travels as a header, so
an event is appended once however often the relay begins again.
"""

import json
import sqlite3
import sys
from collections.abc import Iterator

import kstore

NUMBER = "outbox-number"


def open_database(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT, amount INTEGER)")
    database.execute(
        "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, event TEXT)"
    )
    return database


def place_order(database: sqlite3.Connection, customer: str, amount: int) -> None:
    """The order and the word of it, both or neither."""
    with database:
        order = database.execute("INSERT INTO orders (customer, amount) VALUES (?, ?)", (customer, amount)).lastrowid
        event = json.dumps({"order": order, "customer": customer, "amount": amount})
        database.execute("INSERT INTO outbox (key, event) VALUES (?, ?)", (customer, event))


def relay(database: sqlite3.Connection, log: kstore.Log, *, at_once: int = 100) -> int:
    """Appends what is not in the log yet, then forgets it; returns how many events went."""
    done = last_number(log)
    went = 0
    while events := pending(database, done, at_once):
        log.extend(messages(events))
        log.flush()
        done = events[-1][0]
        went += len(events)
    # Only what is on the disk of the log may leave the database.
    with database:
        database.execute("DELETE FROM outbox WHERE number <= ?", (done,))
    return went


def pending(database: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, str, str]]:
    return database.execute(
        "SELECT number, key, event FROM outbox WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
    ).fetchall()


def messages(events: list[tuple[int, str, str]]) -> Iterator[kstore.Message]:
    for number, key, event in events:
        yield kstore.Message(event.encode(), key=key.encode(), headers=[(NUMBER, str(number).encode())])


def last_number(log: kstore.Log) -> int:
    """The number of the last event in the log."""
    for record in log.read(max(log.start_offset, log.end_offset - 1)):
        return int(dict(record.headers)[NUMBER] or 0)
    return 0


def main(database_path: str, log_path: str) -> None:
    database = open_database(database_path)
    for number in range(3):
        place_order(database, f"customer-{number}", 10 * number)
    with kstore.Log.open(log_path) as log:
        print(f"{relay(database, log)} events went, the log ends at offset {log.end_offset}")


if __name__ == "__main__":
    main(*sys.argv[1:])
