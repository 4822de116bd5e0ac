"""Settings: what may be written in the environment, and how a person learns of a mistake."""

from decimal import Decimal

import pytest
from pydantic import Field, SecretStr, ValidationError
from tables import each_row

from fairprice.errors import FatalError, SettingsError
from fairprice.runtime.settings import (
    SECRETS,
    VARIABLES,
    Decimals,
    Duration,
    HttpSettings,
    ServiceSettings,
    Symbols,
    remarks,
)


class Settings(ServiceSettings):
    """A service that uses every kind of field; all names are in `VARIABLES`."""

    symbols: Symbols = Field(("BTCUSDT",), description="symbols")
    book_levels: int = Field(20, ge=1, le=1000, description="levels")
    store_book_interval: Duration = Field(1.0, description="sampling")
    depth_bps: Decimals = Field((Decimal(10),), description="bands")


def load(**variables: str) -> Settings:
    return Settings.load({f"FAIRPRICE_{name}": value for name, value in variables.items()})


def problem(**variables: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load(**variables)
    return str(raised.value)


def test_an_empty_environment_gives_the_defaults():
    settings = Settings.load({})
    assert (settings.symbols, settings.book_levels, settings.store_book_interval) == (("BTCUSDT",), 20, 1.0)
    assert (settings.log_level, settings.log_format) == ("info", "auto")


def test_an_empty_variable_counts_as_not_set():
    assert load(SYMBOLS="", BOOK_LEVELS="", LOG_LEVEL="") == Settings()


def test_variables_of_others_are_none_of_our_business():
    assert Settings.load({"PATH": "/bin", "BOOK_LEVELS": "7", "MY_fairprice_x": "7"}) == Settings()


@pytest.mark.parametrize("name", ["fairprice_book_levels", "Fairprice_Book_Levels"])
def test_a_variable_in_small_letters_names_the_right_form(name):
    with pytest.raises(SettingsError, match=f"{name} is no setting; write it in capitals, FAIRPRICE_BOOK_LEVELS"):
        Settings.load({name: "7"})


SERVICE_LINKS = {
    "FAIRPRICE_CRAWLER_SERVICE_HOST": "10.96.0.7",
    "FAIRPRICE_CRAWLER_SERVICE_PORT": "8001",
    "FAIRPRICE_CRAWLER_SERVICE_PORT_HTTP": "8001",
    "FAIRPRICE_CRAWLER_PORT": "tcp://10.96.0.7:8001",
    "FAIRPRICE_CRAWLER_PORT_8001_TCP": "tcp://10.96.0.7:8001",
    "FAIRPRICE_CRAWLER_PORT_8001_TCP_PROTO": "tcp",
    "FAIRPRICE_CRAWLER_PORT_8001_TCP_PORT": "8001",
    "FAIRPRICE_CRAWLER_PORT_8001_TCP_ADDR": "10.96.0.7",
    "FAIRPRICE_PORT": "tcp://10.96.0.8:8000",
    "FAIRPRICE_SERVICE_HOST": "10.96.0.8",
    "FAIRPRICE_HTTP_PORT": "tcp://10.96.0.9:80",
}
"""What Kubernetes sets in every pod for Services called `fairprice-crawler`, `fairprice` and `fairprice-http`."""


def test_what_kubernetes_sets_for_a_service_is_passed_over_and_said():
    assert Settings.load(SERVICE_LINKS) == Settings()
    assert HttpSettings.load(SERVICE_LINKS).http_port == 8000
    (remark,) = remarks(SERVICE_LINKS)
    assert remark.startswith("passed over, since Kubernetes sets them for a Service: FAIRPRICE_CRAWLER_PORT, ")
    assert all(name in remark for name in SERVICE_LINKS)


@pytest.mark.parametrize("name", ["CRAWLER_PORT", "SERVICE_HOSTS", "CRAWLER_PORT_X_TCP"])
def test_what_only_looks_like_that_is_still_an_error(name):
    assert f"FAIRPRICE_{name} is no setting" in problem(**{name: "8001"})


def test_a_variable_of_a_neighbour_is_ignored_even_if_it_is_wrong():
    assert load(HTTP_PORT="no port", ESTIMATOR="none") == Settings()


def test_values_of_the_command_line_win():
    assert Settings.load({"FAIRPRICE_BOOK_LEVELS": "7"}, book_levels=9).book_levels == 9
    assert Settings.load({"FAIRPRICE_BOOK_LEVELS": "no number"}, book_levels=9).book_levels == 9


@each_row(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("1s", 1),
        ("0s", 0),
        ("1.5s", 1.5),
        ("5m", 300),
        ("2h", 7200),
        (" 3s ", 3),
        ("0.25ms", 0.00025),
        ("007s", 7),
    ],
)
def test_durations_are_written_with_their_unit(text, seconds):
    assert load(STORE_BOOK_INTERVAL=text).store_book_interval == pytest.approx(seconds)


@each_row("text", ["1", "-1s", "1 s", "s", "1d", "1s2", "1e3s", ".5s", "1.s", "5M", "infs", "nan", "1h30m", "1s\n2"])
def test_anything_else_is_no_duration(text):
    message = problem(STORE_BOOK_INTERVAL=text)
    assert message.startswith("FAIRPRICE_STORE_BOOK_INTERVAL: write a duration like 500ms, 1s, 5m or 2h")
    assert repr(text) in message


@pytest.mark.parametrize("text", ["9" * 400 + "s"])
def test_a_duration_is_finite(text):
    assert "FAIRPRICE_STORE_BOOK_INTERVAL" in problem(STORE_BOOK_INTERVAL=text)


@pytest.mark.parametrize("text", ["BTCUSDT,ETHUSDT", " BTCUSDT , ETHUSDT ", "BTCUSDT,,ETHUSDT,"])
def test_lists_are_separated_by_commas(text):
    assert load(SYMBOLS=text).symbols == ("BTCUSDT", "ETHUSDT")


def test_a_symbol_may_hold_any_writing():
    assert load(SYMBOLS="币安人生USDT").symbols == ("币安人生USDT",)


@each_row(
    ("text", "symbols"),
    [
        ("btcusdt", ("BTCUSDT",)),
        ("BTC/USDT", ("BTCUSDT",)),
        ("BTC-USDT", ("BTCUSDT",)),
        (" btc-usdt , Eth/Usdt ", ("BTCUSDT", "ETHUSDT")),
        ("BTCUSDT,btcusdt,BTC/USDT,ETHUSDT", ("BTCUSDT", "ETHUSDT")),
        ("btcusdt_260327", ("BTCUSDT_260327",)),
        ("1000SATSUSDT,1inchusdt", ("1000SATSUSDT", "1INCHUSDT")),
    ],
)
def test_symbols_may_be_written_as_people_write_them(text, symbols):
    assert load(SYMBOLS=text).symbols == symbols
    assert Settings.load({}, symbols=tuple(text.split(","))).symbols == symbols


@each_row(
    ("text", "advice"),
    [
        ("BTC USDT", "separate symbols by commas, like BTCUSDT,ETHUSDT"),
        ("BTCUSDT ETHUSDT", "separate symbols by commas, like BTCUSDT,ETHUSDT"),
        ("BTC\nUSDT", "separate symbols by commas, like BTCUSDT,ETHUSDT"),
        ("BTC@1", "write symbols like BTCUSDT, BTC/USDT or BTC-USDT, patterns like *USDT, not 'BTC@1'"),
        ("A.B", "write symbols like BTCUSDT, BTC/USDT or BTC-USDT, patterns like *USDT, not 'A.B'"),
        ("BTC;ETH", "write symbols like BTCUSDT, BTC/USDT or BTC-USDT, patterns like *USDT, not 'BTC;ETH'"),
        ("X" * 65, "write symbols like BTCUSDT"),
        ("-", "write symbols like BTCUSDT"),
        (",", "write at least one symbol, like BTCUSDT"),
        (" , ", "write at least one symbol, like BTCUSDT"),
        ("BTC!USDT", "write symbols like BTCUSDT, BTC/USDT or BTC-USDT, patterns like *USDT, not 'BTC!USDT'"),
        ("!", "write what to follow, like *USDT, before what not to, like !*UPUSDT"),
        ("!*UPUSDT,!*DOWNUSDT", "write what to follow, like *USDT, before what not to, like !*UPUSDT"),
    ],
)
def test_what_is_no_symbol_is_refused_with_the_form_to_write(text, advice):
    message = problem(SYMBOLS=text)
    assert message.startswith(f"FAIRPRICE_SYMBOLS: {advice}")
    assert not set(message) & set("^$[]")


def test_what_a_symbol_is_read_as_is_said():
    assert remarks({"FAIRPRICE_SYMBOLS": "BTCUSDT, eth/usdt ,ETHUSDT"}) == [
        "FAIRPRICE_SYMBOLS: eth/usdt is read as ETHUSDT",
        "FAIRPRICE_SYMBOLS: ETHUSDT is named 2 times",
    ]
    assert remarks({"FAIRPRICE_SYMBOLS": "BTCUSDT, ETHUSDT", "PATH": "tcp://x"}) == []


def test_what_cannot_be_read_is_no_remark_but_an_error_of_its_own_service():
    assert remarks({"FAIRPRICE_SYMBOLS": "btcusdt,BTC!USDT"}) == []


def test_decimals_keep_what_was_written():
    assert load(DEPTH_BPS="1, 2.50,10").depth_bps == (Decimal(1), Decimal("2.50"), Decimal(10))
    assert str(load(DEPTH_BPS="0.1").depth_bps[0]) == "0.1"


@each_row("text", ["0", "-1", "ten", "1;2", "NaN", "Infinity", "1,0"])
def test_what_is_no_positive_decimal_is_refused(text):
    assert problem(DEPTH_BPS=text).startswith("FAIRPRICE_DEPTH_BPS: ")


@pytest.mark.parametrize("text", ["0", "1001", "2.5", "many", "٢٠x"])  # noqa: RUF001  digits that are no digits here
def test_a_number_out_of_range_is_refused_and_shown(text):
    message = problem(BOOK_LEVELS=text)
    assert message.startswith("FAIRPRICE_BOOK_LEVELS: ")
    assert repr(text) in message


@pytest.mark.parametrize(("name", "value"), [("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml")])
def test_a_choice_that_is_none_names_the_choices(name, value):
    assert {"LOG_LEVEL": "'warning'", "LOG_FORMAT": "'console'"}[name] in problem(**{name: value})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("SYMBOL", "FAIRPRICE_SYMBOLS"),
        ("BOOK_LEVEL", "FAIRPRICE_BOOK_LEVELS"),
        ("LOGLEVEL", "FAIRPRICE_LOG_LEVEL"),
        ("HTTP_PROT", "FAIRPRICE_HTTP_PORT"),
    ],
)
def test_an_unknown_variable_names_the_nearest_one(wrong, right):
    assert problem(**{wrong: "x"}) == f"FAIRPRICE_{wrong} is no setting; did you mean {right}?"


def test_a_name_in_small_letters_behind_the_prefix_names_the_right_form():
    assert problem(book_levels="x") == (
        "FAIRPRICE_book_levels is no setting; write it in capitals, FAIRPRICE_BOOK_LEVELS"
    )


def test_even_a_name_like_no_other_is_an_error():
    assert "FAIRPRICE_ is no setting" in problem(**{"": "x"})
    assert "FAIRPRICE_ZZZ is no setting" in problem(ZZZ="")


def test_variables_of_the_tests_are_allowed():
    assert load(TEST_DATA="/data", TEST_RABBITMQ_URL="amqp://x") == Settings()


def test_all_problems_are_told_at_once():
    message = problem(BOOK_LEVELS="0", STORE_BOOK_INTERVAL="soon", SYMBOL="BTCUSDT", LOG_LEVEL="loud", PORT="1")
    told = [part.split(maxsplit=1)[0].rstrip(":") for part in message.split("; ") if part.startswith("FAIRPRICE_")]
    assert sorted(told) == [
        "FAIRPRICE_BOOK_LEVELS",
        "FAIRPRICE_LOG_LEVEL",
        "FAIRPRICE_PORT",
        "FAIRPRICE_STORE_BOOK_INTERVAL",
        "FAIRPRICE_SYMBOL",
    ]
    assert "\n" not in message


def test_a_problem_shows_a_long_value_in_part():
    assert len(problem(BOOK_LEVELS="x" * 10_000)) < 300


def test_an_override_that_is_no_field_is_an_error():
    with pytest.raises(SettingsError, match="FAIRPRICE_COLOUR"):
        Settings.load({}, colour="red")


def test_a_wrong_setting_stops_the_process():
    assert issubclass(SettingsError, FatalError)


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().book_levels = 3
    hash(Settings())


def test_the_table_of_variables_is_sorted_and_holds_each_once():
    assert list(VARIABLES) == sorted(set(VARIABLES))
    assert all(name.startswith("FAIRPRICE_") and not name.startswith("FAIRPRICE_TEST_") for name in VARIABLES)


def test_the_fields_that_all_services_share_are_described():
    assert all(field.description for field in ServiceSettings.model_fields.values())


class WithSecret(ServiceSettings):
    """A service that has a secret."""

    store_token: SecretStr = Field(SecretStr("none"), description="a secret")


def test_a_secret_may_be_in_a_file_that_is_read_anew_each_time(tmp_path):
    file = tmp_path / "secret"
    file.write_text("  one\n")
    secret = WithSecret.load({"FAIRPRICE_STORE_TOKEN_FILE": str(file)}).store_token
    assert secret.get_secret_value() == "one"
    file.write_text("two")
    assert secret.get_secret_value() == "two"
    assert "two" not in repr(secret)


def test_a_secret_may_be_in_the_variable_itself_and_empty_counts_as_not_set():
    variables = {"FAIRPRICE_STORE_TOKEN": "x", "FAIRPRICE_STORE_TOKEN_FILE": ""}
    assert WithSecret.load(variables).store_token == SecretStr("x")
    assert WithSecret.load({"FAIRPRICE_STORE_TOKEN_FILE": ""}) == WithSecret()


def test_both_forms_of_a_secret_are_a_mistake(tmp_path):
    variables = {"FAIRPRICE_STORE_TOKEN": "x", "FAIRPRICE_STORE_TOKEN_FILE": str(tmp_path)}
    with pytest.raises(SettingsError, match="FAIRPRICE_STORE_TOKEN_FILE: FAIRPRICE_STORE_TOKEN is set as well"):
        WithSecret.load(variables)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), ("", "no secret in one line"), ("a\nb", "no secret in one line")]
)
def test_a_file_without_a_secret_is_named(tmp_path, content, reason):
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=f"^FAIRPRICE_STORE_TOKEN_FILE: .*{reason}"):
        WithSecret.load({"FAIRPRICE_STORE_TOKEN_FILE": str(file)})


def test_the_file_of_a_neighbours_secret_is_ignored_and_only_secrets_have_files():
    assert Settings.load({"FAIRPRICE_STORE_TOKEN_FILE": "/no/such/file"}) == Settings()
    assert set(SECRETS) <= set(VARIABLES)
    assert "FAIRPRICE_SYMBOLS_FILE is no setting" in problem(SYMBOLS_FILE="x")


class Patient(WithSecret):
    """A service that can do without its secret for a while."""

    awaited = frozenset({"store_token"})


def test_a_secret_that_is_awaited_may_come_after_the_start_and_is_checked_where_it_is_there(tmp_path):
    file = tmp_path / "secret"
    secret = Patient.load({"FAIRPRICE_STORE_TOKEN_FILE": str(file)}).store_token
    with pytest.raises(FileNotFoundError):
        secret.get_secret_value()
    file.write_text("one")
    assert secret.get_secret_value() == "one"
    file.write_text("")
    with pytest.raises(SettingsError, match="no secret in one line"):
        Patient.load({"FAIRPRICE_STORE_TOKEN_FILE": str(file)})
