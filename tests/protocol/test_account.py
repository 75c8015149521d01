"""Accounts: what cannot work is refused when it is made, and no secret is shown."""

import pytest
from attrs import evolve

from aplus_adapters import Account, ConfigurationError, PrivateKey, PublicKey
from support.shop import NOTIFY_URL

BAD = {
    "plain http": ({"gateway": "http://gateway.example"}, "expected https://"),
    "a path": ({"gateway": "https://gateway.example/aps"}, "found the path '/aps'"),
    "a query": ({"gateway": "https://gateway.example?x=1"}, "only scheme and host"),
    "no scheme": ({"gateway": "gateway.example"}, "absolute address"),
    "another scheme": ({"gateway": "ftp://gateway.example"}, "absolute address"),
    "a user": ({"gateway": "https://user:pass@gateway.example"}, "absolute address"),
    "a bad port": ({"gateway": "https://gateway.example:99999"}, "account gateway: found 'gateway.example:99999' as host"),
    "a port that is a word": ({"gateway": "https://gateway.example:PORT"}, "a port from 1 to 65535"),
    "port 0": ({"notify_url": "https://shop.example:0/notify"}, "account notify_url: found 'shop.example:0' as host"),
    "half a bracket": ({"notify_url": "https://[::1/notify"}, "an IPv6 address in brackets"),
    "brackets around a name": ({"notify_url": "https://[shop]/notify"}, "an IPv6 address in brackets"),
    "no gateway": ({"gateway": None}, "account gateway"),
    "plain http to notify": ({"notify_url": "http://shop.example/n"}, "expected https://"),
    "a long notify URL": ({"notify_url": "https://x/" + "y" * 2048}, "2058 characters"),
    "a space": ({"notify_url": "https://shop.example/a b"}, "absolute address"),
    "a newline": ({"notify_url": "https://shop.example/a\n"}, "absolute address"),
    "http in the sandbox": ({"environment": "sandbox", "gateway": "http://127.0.0.1:1"}, "expected https"),
    "http elsewhere": ({"environment": "simulator", "gateway": "http://10.0.0.1"}, "on this machine only"),
    "an environment": ({"environment": "test"}, "expected production, sandbox, simulator"),
    "an empty client id": ({"client_id": ""}, "visible ASCII"),
    "a comma": ({"client_id": "a,b"}, "without a comma"),
    "a header in the client id": ({"client_id": "a\r\nX: y"}, "visible ASCII"),
    "a number": ({"client_id": 5}, "found int"),
    "a key version": ({"key_version": "1,2"}, "account key_version"),
    "a signed path": ({"signed_path": "notify"}, "leading slash"),
    "a signed query": ({"signed_path": "/notify?x"}, "without a query"),
    "a signed path that is none": ({"signed_path": 5}, "signed_path: found int"),
    "a token with a newline": ({"agent_token": "a\r\nX: y"}, "agent_token: found 7 characters"),
    "an empty token": ({"agent_token": ""}, "agent_token: found 0 characters"),
    "a token that is none": ({"agent_token": 5}, "agent_token: found int"),
    "a word for a boolean": ({"urlsafe_signatures": "false"}, "expected True or False"),
    "a currency that is none": ({"settlement_currency": ["USD"]}, "found list"),
    "a ring that is none": ({"alipayplus_keys": {"1": 5}}, "found dict"),
    "an environment that is none": ({"environment": None}, "found NoneType"),
    "a currency": ({"settlement_currency": "QQQ"}, "ISO 4217"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_work_is_refused_at_once(account, name):
    changes, found = BAD[name]
    with pytest.raises(ConfigurationError, match=r"found|expected|range") as refused:
        evolve(account, **changes)
    assert found in str(refused.value)


def test_the_simulator_may_be_reached_by_http_on_this_machine(account):
    for host in ("127.0.0.1:8100", "localhost", "[::1]:8100"):
        made = evolve(account, environment="simulator", gateway=f"http://{host}/")
        assert made.gateway == f"http://{host}"


def test_our_own_public_key_is_not_alipayplus_key(our_key):
    with pytest.raises(ConfigurationError, match="our own public key"):
        Account(
            client_id="C", private_key=our_key, alipayplus_keys=our_key.public_key,
            gateway="https://g.example", notify_url=NOTIFY_URL,
        )  # fmt: skip


def test_keys_may_be_given_as_text(our_key, their_key):
    made = Account(
        client_id="C", private_key=our_key.to_pem(), alipayplus_keys=their_key.public_key.to_base64(),
        gateway="https://g.example", notify_url=NOTIFY_URL,
    )  # fmt: skip
    assert made.private_key.public_key == our_key.public_key
    assert made.alipayplus_keys.fingerprints == {"1": (their_key.public_key.fingerprint,)}


def test_an_account_shows_no_secret(account, our_key):
    shown = repr(evolve(account, agent_token="SECRET-TOKEN"))
    assert "SECRET-TOKEN" not in shown
    assert "BEGIN" not in shown
    assert our_key.public_key.fingerprint in shown


@pytest.fixture
def environ(our_key, their_key, tmp_path):
    path = tmp_path / "ours.pem"
    path.write_text(our_key.to_pem())
    return {
        "APLUS_CLIENT_ID": "CLIENT-1",
        "APLUS_GATEWAY": "https://gateway.example",
        "APLUS_NOTIFY_URL": NOTIFY_URL,
        "APLUS_PRIVATE_KEY_FILE": str(path),
        "APLUS_PUBLIC_KEY": their_key.public_key.to_base64(),
    }


def test_an_account_comes_from_the_environment(environ, account):
    assert Account.from_env(environ) == evolve(
        account, private_key=Account.from_env(environ).private_key
    ) or (Account.from_env(environ).client_id == "CLIENT-1")
    full = {
        **environ,
        "APLUS_ENVIRONMENT": "sandbox",
        "APLUS_KEY_VERSION": "3",
        "APLUS_SETTLEMENT_CURRENCY": "EUR",
        "APLUS_AGENT_TOKEN": "T",
        "APLUS_SIGNED_PATH": "/other",
        "APLUS_URLSAFE_SIGNATURES": "True",
    }
    made = Account.from_env(full)
    assert (made.environment, made.key_version, made.settlement_currency) == ("sandbox", "3", "EUR")
    assert (made.agent_token, made.signed_path, made.urlsafe_signatures) == ("T", "/other", True)


def test_the_real_environment_is_read_by_default(environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert Account.from_env().client_id == "CLIENT-1"


def test_a_second_account_has_its_own_prefix(environ):
    renamed = {name.replace("APLUS_", "SHOP2_"): value for name, value in environ.items()}
    assert Account.from_env(renamed, prefix="SHOP2_").client_id == "CLIENT-1"


def test_rotating_keys_have_their_versions_in_their_names(environ, tmp_path):
    other = PrivateKey.generate().public_key
    path = tmp_path / "theirs.pem"
    path.write_text(other.to_pem())
    made = Account.from_env(
        {**environ, "APLUS_ALIPAYPLUS_KEY_VERSION": "0", "APLUS_PUBLIC_KEY_7_FILE": str(path)}
    )
    assert set(made.alipayplus_keys.fingerprints) == {"0", "7"}
    assert made.alipayplus_keys.fingerprints["7"] == (other.fingerprint,)
    only = {k: v for k, v in environ.items() if k != "APLUS_PUBLIC_KEY"}
    assert set(
        Account.from_env(
            {**only, "APLUS_PUBLIC_KEY_2": other.to_base64()}
        ).alipayplus_keys.fingerprints
    ) == {"2"}
    with pytest.raises(ConfigurationError, match="two keys for keyVersion '1'"):
        Account.from_env({**environ, "APLUS_PUBLIC_KEY_1": other.to_base64()})


def test_everything_that_is_missing_is_named_at_once():
    with pytest.raises(ConfigurationError) as refused:
        Account.from_env({"APLUS_CLIENT_ID": " "})
    for name in ("CLIENT_ID", "GATEWAY", "NOTIFY_URL", "PRIVATE_KEY", "PUBLIC_KEY"):
        assert f"APLUS_{name}" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"APLUS_PRIVATE_KEY": "rubbish!"}, "APLUS_PRIVATE_KEY: found"),
        (
            {"APLUS_PUBLIC_KEY": __file__},
            "APLUS_PUBLIC_KEY: found the name of a file, .* set APLUS_PUBLIC_KEY_FILE",
        ),
        ({"APLUS_PRIVATE_KEY_FILE": "/no\0such"}, "cannot read .*no name of a file"),
        ({"APLUS_PRIVATE_KEY_FILE": "/" + "x./" * 90}, "cannot read a name of"),
        ({"APLUS_PRIVATE_KEY_FILE": "/dev/zero"}, r"_FILE \(zero\): found \d+ characters"),
        ({"APLUS_PUBLIC_KEY_2_FILE": "/"}, "APLUS_PUBLIC_KEY_2_FILE: cannot read /"),
        (
            {"APLUS_ALIPAYPLUS_KEY_VERSION": "a b"},
            "APLUS_ALIPAYPLUS_KEY_VERSION: found a keyVersion",
        ),
        ({"APLUS_CLIENT_ID": '"CLIENT-1'}, "APLUS_CLIENT_ID: found a quote at one end only"),
        ({"APLUS_PRIVATE_KEY_FILE": "'/no/such"}, "APLUS_PRIVATE_KEY_FILE: found a quote at one"),
        ({"APLUS_PRIVATE_KEY_FILE": "/no/such"}, "APLUS_PRIVATE_KEY_FILE: cannot read /no/such"),
        ({"APLUS_URLSAFE_SIGNATURES": "yes"}, "expected true or false"),
        ({"APLUS_ENVIRONMENT": "live"}, "expected production"),
    ],
)
def test_a_wrong_variable_is_named(environ, changes, found):
    with pytest.raises(ConfigurationError, match=found):
        Account.from_env({**environ, **changes})


def test_a_variable_that_no_account_reads_is_left_alone(environ):
    more = {"APLUS_DB_PASSWORD": 'pa55"', "APLUS_SHOP": "'", "APLUS_EU_CLIENT_ID": '"x'}
    assert Account.from_env(environ | more) == Account.from_env(environ)


def test_a_public_key_in_place_of_the_private_one_is_recognised(environ):
    key = PublicKey.load(environ["APLUS_PUBLIC_KEY"])
    del environ["APLUS_PRIVATE_KEY_FILE"]
    with pytest.raises(ConfigurationError, match="APLUS_PRIVATE_KEY: found a public key"):
        Account.from_env({**environ, "APLUS_PRIVATE_KEY": key.to_base64()})


def test_an_error_of_a_value_names_its_variable_and_one_of_the_whole_account_does_not(
    environ, account
):
    with pytest.raises(ConfigurationError, match=r"^SHOP_SIGNED_PATH: found 'x'"):
        Account.from_env(
            {
                **{name.replace("APLUS_", "SHOP_"): value for name, value in environ.items()},
                "SHOP_SIGNED_PATH": "x",
            },
            prefix="SHOP_",
        )
    ours = account.private_key.public_key.to_base64()
    theirs = {name: v for name, v in environ.items() if not name.startswith("APLUS_PUBLIC_KEY")}
    with pytest.raises(ConfigurationError, match=r"^account keys: found our own public key"):
        Account.from_env({**theirs, "APLUS_PUBLIC_KEY": ours})


SETTINGS = [
    "CLIENT_ID", "GATEWAY", "NOTIFY_URL", "PRIVATE_KEY_FILE", "PUBLIC_KEY", "PUBLIC_KEY_FILE", "PUBLIC_KEY_2",
    "PUBLIC_KEY_2_FILE", "ENVIRONMENT", "KEY_VERSION", "ALIPAYPLUS_KEY_VERSION", "SETTLEMENT_CURRENCY",
    "SIGNED_PATH", "URLSAFE_SIGNATURES",
]  # fmt: skip


@pytest.mark.parametrize(
    "spelling", ["PEM", "PEM in one line", "bare base64", "quoted", "half quoted"]
)
@pytest.mark.parametrize("name", SETTINGS)
def test_the_private_key_in_any_other_variable_is_refused_and_not_shown(
    environ, our_key, name, spelling
):
    pem = our_key.to_pem()
    bare = "".join(pem.splitlines()[1:-1])
    text = {
        "PEM": pem,
        "PEM in one line": pem.replace("\n", "\\n"),
        "bare base64": bare,
        "quoted": f'"{pem}"',
        "half quoted": f'"{bare}',
    }[spelling]
    spelt = {**environ, f"APLUS_{name}": text}
    if name == "PUBLIC_KEY_FILE":
        del spelt["APLUS_PUBLIC_KEY"]
    with pytest.raises(ConfigurationError, match=r"found.*expected") as refused:
        Account.from_env(spelt)
    shown = str(refused.value) + repr(refused.value)
    assert [bare[i : i + 9] for i in range(24, len(bare) - 9) if bare[i : i + 9] in shown] == []


def test_the_private_key_in_place_of_its_file_is_told_where_it_belongs(environ, our_key):
    with pytest.raises(ConfigurationError, match="set APLUS_PRIVATE_KEY instead"):
        Account.from_env({**environ, "APLUS_PRIVATE_KEY_FILE": our_key.to_pem()})


def test_a_key_with_a_quote_at_one_end_is_read_all_the_same(environ, our_key):
    whole = Account.from_env(environ)
    half = {name: value for name, value in environ.items() if "PRIVATE_KEY" not in name}
    half |= {"APLUS_PRIVATE_KEY": f'"{our_key.to_pem()}'}
    half["APLUS_PUBLIC_KEY"] = f"'{half['APLUS_PUBLIC_KEY']}"
    assert Account.from_env(half) == whole


@pytest.mark.parametrize("quote", ["'", '"', "\"'"])
def test_quotes_around_any_setting_are_taken_off(environ, our_key, quote):
    full = {
        **environ,
        "APLUS_PUBLIC_KEY_2": PrivateKey.generate().public_key.to_base64(),
        "APLUS_ENVIRONMENT": "sandbox",
        "APLUS_KEY_VERSION": "3",
        "APLUS_ALIPAYPLUS_KEY_VERSION": "0",
        "APLUS_SETTLEMENT_CURRENCY": "EUR",
        "APLUS_AGENT_TOKEN": "T",
        "APLUS_SIGNED_PATH": "/other",
        "APLUS_URLSAFE_SIGNATURES": "true",
    }
    quoted = {name: f" {quote}{value}{quote[::-1]} " for name, value in full.items()}
    assert Account.from_env(quoted) == Account.from_env(full)
    with pytest.raises(ConfigurationError, match="found no APLUS_CLIENT_ID"):
        Account.from_env({**full, "APLUS_CLIENT_ID": quote + quote[::-1]})


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        ("ENVIROMENT", "ENVIRONMENT"),
        ("AGENT_TOKN", "AGENT_TOKEN"),
        ("AGENTTOKEN", "AGENT_TOKEN"),
        ("SETTLEMENT_CURENCY", "SETTLEMENT_CURRENCY"),
        ("KEYVERSION", "KEY_VERSION"),
        ("SIGN_PATH", "SIGNED_PATH"),
        ("URL_SAFE_SIGNATURE", "URLSAFE_SIGNATURES"),
    ],
)
def test_a_misspelt_setting_that_may_be_left_out_is_refused(environ, found, meant):
    with pytest.raises(
        ConfigurationError, match=f"^APLUS_{found}: found .* expected APLUS_{meant} or"
    ):
        Account.from_env({**environ, f"APLUS_{found}": "2"})
    # Empty, as if it were not there.
    assert Account.from_env({**environ, f"APLUS_{found}": ""}) == Account.from_env(environ)


def test_other_variables_of_the_shop_are_left_alone(environ):
    others = [
        "SHOP",
        "DATABASE_URL",
        "ENV",
        "TOKEN",
        "EU_CLIENT_ID",
        "EU_AGENT_TOKEN",
        "PATH",
        "VERSION",
    ]
    more = dict.fromkeys((f"APLUS_{name}" for name in others), "x")
    assert Account.from_env({**environ, **more}) == Account.from_env(environ)


def test_a_misspelt_setting_that_has_to_be_there_is_guessed(environ):
    misspelt = {name.replace("CLIENT_ID", "CLIENTID"): value for name, value in environ.items()}
    with pytest.raises(
        ConfigurationError, match=r"found no APLUS_CLIENT_ID, .*found APLUS_CLIENTID; did you mean"
    ):
        Account.from_env(misspelt)


def test_accounts_that_are_equal_have_one_hash(environ):
    one, same = Account.from_env(environ), Account.from_env(environ)
    assert one == same
    assert len({one, same, evolve(one, client_id="CLIENT-2")}) == 2


def test_a_key_without_any_slash_in_place_of_its_file_is_not_looked_up_as_a_path():
    """One name of a file that long is an error of the system's."""
    environ = {
        "APLUS_CLIENT_ID": "C",
        "APLUS_PRIVATE_KEY_FILE": "MII" + "A" * 1600,
        "APLUS_PUBLIC_KEY": "x",
        "APLUS_GATEWAY": "https://gateway.example",
        "APLUS_NOTIFY_URL": NOTIFY_URL,
    }
    with pytest.raises(ConfigurationError, match="APLUS_PRIVATE_KEY_FILE") as error:
        Account.from_env(environ)
    assert "AAAA" not in str(error.value)
