"""The target guard and the rules of a site: whose hosts may be loaded, and how much."""

import pytest

from chatload.errors import FileError, UsageError
from chatload.target import TargetRules, anywhere, host_name, is_private, matches, read_rules, require_agreed

NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "chat.lab": ["10.1.2.3", "fd00::7"],
    "chat.example": ["93.184.216.34"],
    "half.example": ["10.1.2.3", "93.184.216.34"],
    "metadata": ["169.254.169.254"],
    "nowhere.example": [],
}


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.9.10", "::1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.4.4", "fd12::1", "0.0.0.0",
     "::", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "fd00::1%eth0"],
)  # fmt: skip
def test_own_addresses(address):
    assert is_private(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.15.255.255", "172.32.0.1", "192.167.1.1", "100.64.0.1", "169.254.169.254", "fe80::1", "198.18.0.1",
     "::ffff:8.8.8.8", "64:ff9b::a00:1", "2002:a00:1::", "2001:db8::1", "224.0.0.1", "255.255.255.255", "", "10.0.0",
     "localhost", "0.0.0.1"],
)  # fmt: skip
def test_addresses_of_others(address):
    assert not is_private(address)


def guard(host, agreed=(), rules=None, **more):
    return require_agreed(host, agreed, rules or TargetRules(), lambda name: NAMES[name], **more)


@pytest.mark.parametrize(
    "host",
    ["http://127.0.0.1:8080", "http://[::1]:8080/prefix", "https://user:word@localhost/", "LOCALHOST.", "chat.lab",
     "nowhere.example"],
)  # fmt: skip
def test_what_is_ones_own_needs_no_word(host):
    admits = guard(host)
    assert admits("127.0.0.1") and admits("10.9.9.9")
    # The name may lead elsewhere by the time it is connected to.
    assert not admits("93.184.216.34")


@pytest.mark.parametrize("host", ["http://93.184.216.34", "https://chat.example/x", "half.example", "http://metadata"])
def test_what_is_not_needs_the_owners(host):
    with pytest.raises(UsageError, match=f"--target-owner-agrees {host_name(host)}$"):
        guard(host)
    for word in (host, host_name(host).upper(), f"other.example; {host}".split("; ")[1]):
        assert guard(host, [word]) is anywhere
    for word in ("", "example", "chat.example.evil", "*.example", "0.0.0.0/0", "*"):
        with pytest.raises(UsageError):
            guard(host, [word])


def test_the_error_names_the_address_a_name_leads_to():
    with pytest.raises(UsageError, match=r"half\.example is not loopback or private \(93\.184\.216\.34\)"):
        guard("http://half.example")


def test_a_proxy_resolves_names_where_nobody_can_check():
    with pytest.raises(UsageError, match="a proxy decides"):
        guard("http://chat.lab", proxied=True)
    assert guard("http://chat.lab", ["chat.lab"], proxied=True) is anywhere
    assert guard("http://10.0.0.1", proxied=True)("10.0.0.1")


def test_the_allow_list():
    rules = TargetRules(allowed_targets=("chat.example", "*.corp.example", "203.0.113.0/28"))
    assert guard("https://chat.example", rules=rules) is anywhere
    assert guard("https://deep.chat.corp.example", rules=rules) is anywhere
    assert guard("https://203.0.113.9", rules=rules) is anywhere
    NAMES["listed.lab"] = ["203.0.113.9"]
    admits = guard("https://listed.lab", rules=rules)
    assert admits("203.0.113.10") and not admits("203.0.113.16")
    for host in ("corp.example", "evilcorp.example", "203.0.113.16", "chat.example.evil.example"):
        NAMES.setdefault(host, ["93.184.216.34"])
        with pytest.raises(UsageError):
            guard(host, rules=rules)


def test_a_locked_list_goes_before_any_word():
    rules = TargetRules(allowed_targets=("half.example",), locks={"allowed_targets": "/etc/chatload.toml"})
    with pytest.raises(UsageError, match=r"/etc/chatload\.toml does not allow it"):
        guard("http://chat.example", ["chat.example"], rules)
    assert guard("http://half.example", (), rules) is anywhere
    assert not guard("http://chat.lab", ["chat.lab"], rules)("93.184.216.34")


@pytest.mark.parametrize(
    ("text", "name"),
    [("http://a.example:80/x", "a.example"), ("A.Example.", "a.example"), ("::1", "::1"), ("[::1]:80", "::1"),
     ("u:p@h", "h"), ("http://[bad", ""), ("", "")],
)  # fmt: skip
def test_host_names(text, name):
    assert host_name(text) == name


def test_nothing_matches_nothing():
    assert not matches("", ["", "*.example"])


# -- chatload.toml ---------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes the site's file and the project's; gives the rules they make."""
    monkeypatch.chdir(tmp_path)

    def write(site="", project="", environment=()):
        (tmp_path / "site.toml").write_text(site)
        if project:
            (tmp_path / "chatload.toml").write_text(project)
        return read_rules(dict(environment), tmp_path / "site.toml")

    return write


def test_without_files_nothing_is_limited(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_rules({}, tmp_path / "no.toml") == TargetRules()


def test_the_project_goes_before_the_site_and_the_command_line_before_both(files):
    rules = files("max_sessions = 10\nmax_requests_per_s = 5.5", 'max_sessions = 20\nallowed_targets = ["a.example"]')
    assert (rules.max_sessions, rules.max_requests_per_s, rules.allowed_targets) == (20, 5.5, ("a.example",))
    assert rules.lowered(30, None).max_sessions == 30 and rules.lowered(None, 7).max_requests_per_s == 7


def test_what_the_site_has_locked_can_only_be_made_stricter(files):
    rules = files(
        'locked = true\nmax_sessions = 10\nallowed_targets = ["a.example"]',
        'max_sessions = 20\nallowed_targets = ["b.example"]\nmax_requests_per_s = 3',
    )
    assert (rules.max_sessions, rules.max_requests_per_s, rules.allowed_targets) == (10, 3, ("a.example",))
    assert rules.lowered(5, 100).max_sessions == 5
    with pytest.raises(UsageError, match=r"--max-sessions 11 is above the 10 that .*site.toml has locked"):
        rules.lowered(11, None)
    assert files("locked = true\nmax_sessions = 10", "max_sessions = 4").max_sessions == 4


def test_the_file_that_set_a_ceiling_is_named(files, tmp_path):
    rules = files("max_sessions = 10\nmax_requests_per_s = 5", "max_sessions = 20")
    assert rules.origin("max_sessions") == "raise max_sessions in chatload.toml, or give --max-sessions"
    site = tmp_path / "site.toml"
    assert rules.origin("max_requests_per_s") == f"raise max_requests_per_s in {site}, or give --max-requests-per-s"
    given = rules.lowered(15, None)
    assert given.origin("max_sessions") == "raise --max-sessions to allow it"
    assert given.origin("max_requests_per_s") == rules.origin("max_requests_per_s")
    locked = files("locked = true\nmax_sessions = 10", "max_sessions = 20")
    assert locked.origin("max_sessions") == f"{site} has locked it: ask the owner of that file"


def test_a_project_can_lock_too(files):
    rules = files("", "locked = true\nmax_requests_per_s = 100")
    with pytest.raises(UsageError, match="has locked"):
        rules.lowered(None, 101)


def test_the_file_that_the_environment_names(files, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text("max_sessions = 3")
    assert files("", "max_sessions = 20", {"CHATLOAD_CONFIG": str(other)}).max_sessions == 3
    with pytest.raises(FileError, match="cannot be read"):
        files("", "", {"CHATLOAD_CONFIG": str(tmp_path / "gone.toml")})


@pytest.mark.parametrize(
    ("text", "key"),
    [("max_sessions = 0", "max_sessions"), ("max_sessions = 1.5", "max_sessions"), ("max_sessions = true", "max_se"),
     ("max_requests_per_s = inf", "max_requests_per_s"), ("max_requests_per_s = nan", "max_requests_per_s"),
     ('max_requests_per_s = "many"', "max_requests_per_s"), ("locked = 1", "locked"),
     ("max_session = 1", "max_session"),
     ('allowed_targets = "a"', "allowed_targets"), ("allowed_targets = [1]", "allowed_targets"),
     ('allowed_targets = ["*"]', "allowed_targets"), ('allowed_targets = ["1.2.3.4/8"]', "allowed_targets")],
)  # fmt: skip
def test_mistakes_in_it_are_named(files, text, key):
    with pytest.raises(FileError, match=key):
        files(text)


def test_an_entry_that_is_no_network_matches_nothing():
    assert not matches("10.0.0.1", ["=cmd|' /C calc'!A0", "10.0.0.0/99"]) and matches("10.0.0.1", ["x/y", "10.0.0.0/8"])
