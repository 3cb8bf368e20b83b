"""Feeders: files of customers' values, the texts that name their columns, and which row comes next."""

from __future__ import annotations

import json
from types import SimpleNamespace

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.chat.feeder import Feeder, RowCounter, block_size, columns_in, filled, random_row
from chatload.chat.script import CustomerScript, load_script
from chatload.errors import FileError
from chatload.run.settings import stored_script
from chatload.swarm.feeds import Feed, RowAllotments, feeds_of

ROWS = ({"id": "1", "name": "Ann, Jr."}, {"id": "2", "name": "Bob"}, {"id": "3", "name": "Chloé"})


def loaded(folder, order="in_order", at_end="stop", count=3):
    file = folder / "rows.csv"
    file.write_text("id\n" + "".join(f"{number}\n" for number in range(count)))
    return Feeder(str(file), order, at_end).load()


# -- files -------------------------------------------------------------------------------------------


def test_csv_and_json_lines_give_the_same_rows(tmp_path):
    # With a byte order mark and Windows' line ends, as a spreadsheet writes it.
    (tmp_path / "a.csv").write_bytes('\ufeffid,name\r\n1,"Ann, Jr."\r\n2,Bob\r\n\r\n3,Chloé\r\n'.encode())
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"id": int(r["id"]), "name": r["name"]}) for r in ROWS))
    for name in ("a.csv", "a.jsonl"):
        found = Feeder(str(tmp_path / name), at_end="stop").load()
        assert tuple(found.rows) == ROWS and found.columns == ("id", "name")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "", "has no rows"),
        ("a.csv", "id,name\n", "has no rows"),
        ("a.csv", "id,id\n1,2\n", "line 1: expected a different name for each column"),
        ("a.csv", "id,\n1,2\n", "line 1: expected a different name for each column"),
        ("a.csv", "id,name\n1,Ann\n2\n", "line 3: 1 values for 2 columns"),
        ("a.csv", 'id,name\n1,"Ann\n', "line 2: unexpected end of data"),
        ("a.jsonl", '{"id": 1}\n[1]\n', "line 2: expected an object of texts and numbers"),
        ("a.jsonl", '{"id": {}}\n', "line 1: expected an object of texts and numbers"),
        ("a.jsonl", '{"id": 1}\n{"name": 1}\n', "line 2: expected the same names as in the first line: id"),
        ("a.ndjson", '{"id": 1}\n{"id": \n', "line 2: not JSON"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError) as error:
        Feeder(str(tmp_path / name), at_end="stop").load()
    assert str(error.value) == f"{tmp_path / name}: {says}"


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.csv").write_bytes("id\nChlo\xe9\n".encode("latin-1"))
    for name, says in (("latin.csv", "not UTF-8"), ("none.csv", "cannot be read (No such file"), (".", "cannot be re")):
        with pytest.raises(FileError) as error:
            Feeder(str(tmp_path / name), at_end="stop").load()
        assert says in str(error.value)


# -- texts -------------------------------------------------------------------------------------------


def test_texts_have_values_in_place_of_columns():
    row = {"name": "Ann", "id": "{7}"}
    assert filled("Order {id} of {name}, {{not}} this", row) == "Order {7} of Ann, {not} this"
    assert filled("plain", row) == "plain"
    # In virtual time there is no row.
    assert filled("{name}", {}) == "{name}"
    assert columns_in("{a} {{b}} {c}") == ["a", "c"]


@pytest.mark.parametrize("text", ["{", "}", "{a", "{}", "{a.b}", "{a[0]}", "{a!r}", "{a:>3}"])
def test_other_braces_are_refused(text):
    with pytest.raises(ValueError, match="brace"):
        columns_in(text)


@given(st.text(), st.dictionaries(st.sampled_from("abc"), st.text(), min_size=3))
def test_a_text_with_doubled_braces_is_itself(text, row):
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert filled(doubled, row) == text and columns_in(doubled) == []


def test_a_script_file_has_user_data_and_a_feeder(tmp_path):
    (tmp_path / "rows.csv").write_text("id,name\n1,Ann\n")
    text = f"""
nickname = "{{name}}"
[user_data]
CustomerId = "{{id}}"
Level = 3
Known = true
[feeder]
file = "{tmp_path}/rows.csv"
order = "unique"
at_end = "repeat"
"""
    (tmp_path / "script.toml").write_text(text)
    script = load_script(tmp_path / "script.toml")
    assert script.feeder == Feeder(f"{tmp_path}/rows.csv", "unique", "repeat")
    customer = script.customer(7, script.feeder.load().rows[0])
    assert customer.introduction() == {
        "nickname": "Ann", "subject": "load test", "user_data.CustomerId": "1", "user_data.Level": "3",
        "user_data.Known": "true",
    }  # fmt: skip
    assert (customer.number, customer.row["id"]) == (7, "1")
    # A run stores neither the texts nor the file; written in Python, the script is stored alike.
    stored = stored_script(tmp_path / "script.toml")
    assert "name" not in stored.replace("nickname", "") and "rows.csv" not in stored and "CustomerId" in stored
    assert "feeder" not in stored_script(script) and 'CustomerId = "xxxx"' in stored_script(script)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('[feeder]\norder = "unique"', "feeder.file: expected, but missing"),
        ('[feeder]\nfile = "a.csv"\norder = "backwards"', "feeder.order: expected one of in_order, random, unique"),
        ('[feeder]\nfile = "a.csv"\nat_end = "cry"', "feeder.at_end: expected one of stop, repeat, error"),
        ('[feeder]\nfile = "a.csv"\nat-end = "stop"', "unknown key"),
        ("[feeder]\nfile = 3", "feeder.file: expected the name of a .csv or .jsonl file"),
        ("user_data = 3", "user_data: expected a table of texts"),
        ("[user_data]\na = [1]", "user_data: expected a table of texts"),
    ],
)
def test_a_mistake_in_a_script_is_named(tmp_path, table, says):
    (tmp_path / "script.toml").write_text(table)
    with pytest.raises(FileError) as error:
        load_script(tmp_path / "script.toml")
    assert says in str(error.value)


# -- the next row ------------------------------------------------------------------------------------


def taken(feed, count):
    rows = [feed.row(number) for number in range(count)]
    return [None if row is None else int(row["id"]) for row in rows]


def test_in_order_each_process_has_all_rows(tmp_path):
    never = SimpleNamespace  # no process asks the master
    assert taken(Feed("", loaded(tmp_path), never), 5) == [0, 1, 2, None, None]
    assert taken(Feed("", loaded(tmp_path, at_end="repeat"), never), 7) == [0, 1, 2, 0, 1, 2, 0]
    assert Feed("", loaded(tmp_path, at_end="error"), never).end_is_error


def test_random_rows_are_those_of_the_chat(tmp_path):
    feed = Feed("", loaded(tmp_path, "random", "", count=50), SimpleNamespace)
    first = taken(feed, 200)
    assert first == taken(feed, 200) and len(set(first)) > 40
    assert {random_row(3, chat) for chat in range(100)} == {0, 1, 2}


@pytest.mark.parametrize(("count", "at_end"), [(1, "stop"), (7, "stop"), (730, "stop"), (7, "error"), (7, "repeat")])
def test_unique_rows_are_used_once_over_all_processes(tmp_path, count, at_end):
    rows = loaded(tmp_path, "unique", at_end, count)
    shared = RowAllotments({"Vip": SimpleNamespace(rows=rows), "Other": SimpleNamespace(rows=None)})

    def slowly(user_class, wanted):
        gevent.sleep(0)  # as a message to the master: other chats of the process ask meanwhile
        return shared.allot(user_class, wanted)

    processes = [Feed("Vip", rows, slowly) for _ in range(3)]
    greenlets = [gevent.spawn(process.row, number) for number in range(count + 5) for process in processes]
    gevent.joinall(greenlets)
    used = [int(greenlet.value["id"]) for greenlet in greenlets if greenlet.value is not None]
    if at_end == "repeat":
        assert len(used) == len(greenlets) and {used.count(number) for number in range(count)} <= {4, 5, 6}
    else:
        assert sorted(used) == list(range(count)), "each once, and all of them"
    assert len(shared.allot("Other", 5)) == 0


def test_classes_with_the_same_feeder_share_its_rows(tmp_path):
    rows = loaded(tmp_path, "unique", "stop", 6)
    classes = {name: SimpleNamespace(rows=rows) for name in ("Vip", "Web")} | {"Other": SimpleNamespace(rows=None)}
    feeds = feeds_of(classes, RowAllotments(classes).allot)
    assert set(feeds) == {"Vip", "Web"}
    assert [taken(feeds[name], 1)[0] for name in ("Vip", "Web", "Vip", "Web")] == [0, 1, 2, 3]


def test_a_short_file_is_shared_row_by_row():
    assert [block_size(total) for total in (1, 99, 1000, 10**6)] == [1, 1, 10, 50]
    counter = RowCounter(3, again=False)
    assert [list(counter.take(2)) for _ in range(3)] == [[0, 1], [2], []]


def test_a_script_without_a_feeder_is_as_it_was():
    assert stored_script(CustomerScript()) == "\n"
