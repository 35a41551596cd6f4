"""One corpus from several machines: together the same bytes as one build, and an index only when all is there."""

import pytest
from test_corpus_build import contents

from melformer.cli import main
from melformer.corpus import build
from melformer.corpus.shards import Shard, merge_shards
from melformer.errors import RequestError

HOURS = 0.006  # three loops
FEW = {"long": 0.0, "styles": ["house", "ambient"], "sample_rate": 22_050}


@pytest.fixture(autouse=True)
def synthesis_alone(monkeypatch):
    monkeypatch.setattr("melformer.corpus.sound_sources.found", lambda: frozenset())


def test_shards_together_are_the_bytes_of_one_build(tmp_path):
    """In one folder, whatever their order; none of them writes the index before the others are done."""
    n_passages = build(tmp_path / "one", HOURS, 9, **FEW)
    n_written = 0
    for number in (2, 3, 1):
        assert not (tmp_path / "many" / "index.jsonl").exists()
        n_written += build(tmp_path / "many", HOURS, 9, shard=Shard(number, 3), **FEW)
    one, many = contents(tmp_path / "one"), contents(tmp_path / "many")
    one.pop(".writing", None)
    assert n_written == n_passages and many == one


def test_shards_of_several_disks_are_merged_by_a_command(tmp_path, capsys):
    build(tmp_path / "one", HOURS, 9, **FEW)
    for number in (1, 2):
        build(tmp_path / str(number), HOURS, 9, shard=Shard(number, 2), **FEW)
    together = tmp_path / "1"
    assert main(["corpus", "merge", str(together)]) == 2
    assert "every index-I-of-N.jsonl" in capsys.readouterr().err
    for path in (tmp_path / "2").iterdir():
        path.rename(together / path.name)
    assert main(["corpus", "merge", str(together)]) == 0
    assert (together / "index.jsonl").read_bytes() == (tmp_path / "one" / "index.jsonl").read_bytes()
    assert not merge_shards(together)


def test_more_shards_than_passages_leave_some_empty(tmp_path):
    counts = [build(tmp_path, 0.0001, 9, shard=Shard(number, 3), **FEW) for number in (1, 2, 3)]
    assert counts == [1, 0, 0] and len((tmp_path / "index.jsonl").read_text().splitlines()) == 1


def test_a_share_is_held_by_one_process_and_others_go_on(tmp_path):
    with Shard(1, 2).writing(tmp_path) as index:
        index.write("a\n")
        with pytest.raises(RequestError, match="Another process"), Shard(1, 2).writing(tmp_path):
            pass
        with Shard(2, 2).writing(tmp_path) as other:
            other.write("b\n")
    assert merge_shards(tmp_path) and (tmp_path / "index.jsonl").read_text() == "a\nb\n"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "-1/4", "1/2/3", "a/b", "1/99999", ""])
def test_a_shard_that_does_not_exist_is_named(text):
    with pytest.raises(RequestError, match="shard"):
        Shard.parse(text)
    assert Shard.parse("2/8") == Shard(2, 8)
