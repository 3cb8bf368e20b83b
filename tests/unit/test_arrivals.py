"""The arrival process: the intended distribution, whole and shared out, at one rate and at a changing one."""

from itertools import islice, takewhile

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from chatload.errors import FileError
from chatload.run.arrivals import Piece, RateProfile, arrivals, load_profile

#: A test at a fixed seed passes or fails for ever: as strict as may be without being a test of the seed.
P = 0.01
DAY = "time,chats_per_hour\n8:00,0\n8:30,3600\n9:00,3600\n9:20,0\n10:00,0\n10:30,7200\n"


def profile_of(tmp_path, text, compress=1.0):
    file = tmp_path / "profile.csv"
    file.write_text(text)
    return load_profile(file, compress)


def merged(profile, sources, until, seed="7"):
    streams = [arrivals(profile, 1 / sources, f"{seed} {n}") for n in range(sources)]
    return np.sort([t for stream in streams for t in takewhile(lambda t: t < until, stream)])


def p_of_gaps(instants, rate=1.0):
    return stats.kstest(np.diff(instants), "expon", args=(0, 1 / rate)).pvalue


def p_of_counts(instants, rate, until, width):
    """Chi-square of how many arrive in stretches of `width`, against Poisson."""
    counts = np.histogram(instants, np.arange(0, until + width / 2, width))[0]
    dispersion = ((counts - rate * width) ** 2).sum() / (rate * width)
    return 2 * min(stats.chi2.cdf(dispersion, len(counts)), stats.chi2.sf(dispersion, len(counts)))


@pytest.mark.parametrize("rate", [1, 20, 100])
@pytest.mark.parametrize("sources", [1, 2, 7, 64])
def test_a_rate_gives_a_poisson_process_however_many_sources_share_it(rate, sources):
    until = 20_000 / rate
    instants = merged(RateProfile.constant(rate), sources, until)
    assert abs(len(instants) - 20_000) < 4 * 20_000**0.5
    assert p_of_gaps(instants, rate) > P
    for width in (0.5 / rate, 10 / rate):
        assert p_of_counts(instants, rate, until, width) > P
    gaps = np.diff(instants)
    assert stats.spearmanr(gaps[:-1], gaps[1:]).pvalue > P


@pytest.mark.parametrize("sources", [1, 5])
def test_a_changing_rate_is_a_poisson_process_of_rate_1_on_its_own_clock(tmp_path, sources):
    # The time-rescaling theorem; here nothing of the inverse is used, only the rate, integrated numerically.
    profile = profile_of(tmp_path, DAY)
    instants = merged(profile, sources, float("inf"))
    at = np.linspace(0, 9000, 900_001)
    rate = np.interp(at, [0, 1800, 3600, 4800, 7200, 9000], [0, 1, 1, 0, 0, 2])
    clock = np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(at))])
    assert p_of_gaps(np.interp(instants, at, clock)) > P
    assert abs(len(instants) - 5100) < 4 * 5100**0.5
    assert not any(4800 < t < 7200 for t in instants)


def test_a_source_that_starts_in_the_middle_goes_on_with_the_profile(tmp_path):
    profile = profile_of(tmp_path, DAY)
    instants = list(arrivals(profile, 1.0, "1", since=7200))
    assert all(7200 < t <= 9000 for t in instants)
    assert abs(len(instants) - 1800) < 4 * 1800**0.5
    assert list(arrivals(profile, 1.0, "1", since=9000)) == []


def test_the_same_seed_gives_the_same_instants_and_another_gives_others():
    def first(seed):
        return list(islice(arrivals(RateProfile.constant(5), 0.5, seed), 20))

    assert first("1 0 1") == first("1 0 1")
    assert not set(first("1 0 1")) & set(first("1 0 2"))


RATES = st.one_of(st.just(0.0), st.floats(1e-6, 1e4))
PIECES = st.lists(st.tuples(st.floats(1e-3, 1e5), RATES, RATES), min_size=1, max_size=8)


@given(PIECES, st.floats(0, 1, exclude_min=True))
@example([(1.0, 0.0, 1.0)], 5e-324)
def test_the_inverse_is_the_inverse(drawn, share):
    at, pieces = 0.0, []
    for length, first, last in drawn:
        pieces.append(Piece(at, at + length, first, last))
        at += length
    profile = RateProfile(pieces)
    assume(profile.total > 1e-3)
    wanted = share * profile.total
    instant = profile.instant(wanted)
    if wanted < profile.total:
        assert 0 <= instant <= at
        assert profile.expected(instant) == pytest.approx(wanted, rel=1e-6, abs=1e-9 * profile.total)
    assert profile.instant(profile.total * 1.001) == float("inf")


@pytest.mark.parametrize(
    "text, length, total, at, expected",
    [
        ("seconds,chats_per_hour\n0,3600\n10,3600\n", 10, 10, 5, 5),
        ("seconds,chats_per_hour\n0,0\n10,7200\n", 10, 10, 5, 2.5),
        ("seconds,chats\n100,30\n110,60\n120,0\n", 20, 90, 15, 60),
        ("time,chats\n08:00,60\n08:01,0\n08:02,0\n", 120, 60, 30, 30),
        ("\ufeffTime , Chats\r\n23:30:00,10\r\n\r\n24:00,0\r\n", 1800, 10, 900, 5),
        ("chats,note,time\n6,early,8:00\n0,,8:01\n", 60, 6, 10, 1),
    ],
)
def test_profiles(tmp_path, text, length, total, at, expected):
    profile = profile_of(tmp_path, text)
    assert (profile.length_s, profile.total) == (pytest.approx(length), pytest.approx(total))
    assert profile.expected(at) == pytest.approx(expected)


def test_a_compressed_profile_has_the_same_rates_in_less_time(tmp_path):
    day, hour = profile_of(tmp_path, DAY), profile_of(tmp_path, DAY, compress=24)
    assert hour.length_s == pytest.approx(day.length_s / 24)
    assert hour.total == pytest.approx(day.total / 24)
    assert [piece.first for piece in hour.pieces] == [piece.first for piece in day.pieces]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1: expected the columns seconds or time, and chats_per_hour or chats, not an empty line"),
        ("time,rate\n", "line 1: expected the columns seconds or time, and chats_per_hour or chats, not time, rate"),
        ("time,chats,chats_per_hour\n", "line 1: expected the columns"),
        ("seconds;chats\n0;1\n", "line 1: expected the columns"),
        ("seconds,chats\n", "expected at least two rows below the header: the last says when the profile ends"),
        ("seconds,chats\n0,5\n", "expected at least two rows"),
        ("seconds,chats\n0,5\n10\n", "line 3: expected 2 cells, as in the header"),
        ("seconds,chats\n0,5\n\nx,5\n", "line 4: seconds: expected a number not below 0, not 'x'"),
        ("seconds,chats\n0,5\n10,-1\n", "line 3: chats: expected a number not below 0, not '-1'"),
        ("seconds,chats\n0,5\n10,nan\n", "line 3: chats: expected a number not below 0, not 'nan'"),
        ("time,chats\n8:60,5\n9:00,0\n", "line 2: time: expected a time such as 8:30 or 08:30:00, not '8:60'"),
        ("time,chats\n23:00,5\n0:00,0\n", "line 3: expected a time later than that of the line before"),
        ("seconds,chats\n0,5\n0,5\n", "line 3: expected a time later than that of the line before"),
        ("seconds,chats\n0,0\n10,5\n", "no chat ever arrives: every rate is 0"),
        ('seconds,chats\n0,"5\n', "line 2: not CSV (unexpected end of data)"),
        (b"\xff\xfe", "not UTF-8 text"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_mistake_in_a_profile_is_named_with_its_line(tmp_path, text, message):
    file = tmp_path / "p.csv"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FileError) as caught:
        load_profile(file)
    assert str(caught.value).startswith(f"{file}: {message}")
