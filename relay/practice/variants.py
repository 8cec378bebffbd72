"""What composable behaviours change in the answers: whose accounts, which order ids, which language. Pure functions."""

from __future__ import annotations

from dataclasses import replace

from relay.practice.settings import Practice

_LIVE = ("U1234567",)
_ADVISER = "F1234567"
_FIRST_CLIENT = 1234568  # the number in the name of the first of an adviser's accounts
_FIRST_BACK, _STEP_BACK = 1000, 100  # order ids of the first session, and how many fewer each later one is given

# IB's texts as public threads quote them.
ENTITLEMENT = {
    354: "Requested market data is not subscribed.",
    10089: "Requested market data requires additional subscription for API. See link in 'Market Data Connections' "
    "dialog for more details.Delayed market data is available.",
    10090: "Part of requested market data is not subscribed. Subscription-independent ticks are still active."
    "Delayed market data is available.",
    10091: "Part of requested market data requires additional subscription for API. See link in 'Market Data "
    "Connections' dialog for more details.Delayed market data is available.",
    10168: "Requested market data is not subscribed. Delayed market data is not enabled.",
}

# English beginnings, Spanish, Chinese. The words are ours: IB does not publish its own. What has no row stays English.
_TRANSLATED = (
    (
        "Historical Market Data Service error message:",
        "Mensaje de error del servicio de datos históricos de mercado:",
        "历史市场数据服务错误消息:",
    ),
    ("HMDS query returned no data", "La consulta HMDS no devolvió datos", "HMDS查询没有返回数据"),
    (
        "Historical data request pacing violation",
        "Violación del ritmo de solicitudes de datos históricos",
        "历史数据请求超出频率限制",
    ),
    (
        "No security definition has been found for the request",
        "No se encontró ninguna definición de valor para la petición",
        "未找到该请求的证券定义",
    ),
    ("Error validating request.", "Error de validación de la petición.", "验证请求时发生错误。"),
    (
        "Unable to connect as the client id is already in use. Retry with a unique client id.",
        "No es posible la conexión: el identificador de cliente ya está en uso.",
        "无法连接:客户ID已被使用。",
    ),
    (
        "Requested market data is not subscribed.",
        "No está suscrito a los datos solicitados.",
        "未订阅所请求的市场数据。",
    ),
    (
        "Connectivity between IBKR and Trader Workstation has been lost.",
        "Se ha perdido la conexión entre IBKR y Trader Workstation.",
        "IBKR与交易平台之间的连接已丢失。",
    ),
    (
        "Connectivity between IBKR and Trader Workstation has been restored",
        "Se ha restablecido la conexión entre IBKR y Trader Workstation",
        "IBKR与交易平台之间的连接已恢复",
    ),
    ("Market data farm connection is OK", "La conexión con los datos de mercado está bien", "市场数据连接正常"),
    ("HMDS data farm connection is OK", "La conexión con los datos históricos está bien", "历史数据连接正常"),
    ("Sec-def data farm connection is OK", "La conexión con las definiciones está bien", "证券定义连接正常"),
)
_COLUMN = {"es": 1, "zh": 2}


def of_session(settings: Practice, turn: int) -> Practice:
    """The settings of the session that is the `turn`th to be greeted, from 0: its accounts, its first order id."""
    accounts, order_id = settings.accounts, settings.first_order_id
    if settings.plays("live-account"):
        accounts = _LIVE
    if settings.plays("fa-accounts"):
        count = int(settings.number_of("fa-accounts"))
        accounts = (_ADVISER, *(f"U{_FIRST_CLIENT + each}" for each in range(count)))
    if settings.plays("accounts-swapped") and turn % 2:
        accounts = tuple(_other(account) for account in accounts)
    if settings.plays("order-ids-back"):
        order_id = max(1, order_id + _FIRST_BACK - _STEP_BACK * turn)
    return replace(settings, accounts=accounts, first_order_id=order_id)


def localised(text: str, language: object) -> str:
    """An error text in the language, as far as it has words; None leaves it English."""
    column = _COLUMN.get(str(language))
    for row in _TRANSLATED if column is not None else ():
        text = text.replace(row[0], row[column or 0])
    return text


def _other(account: str) -> str:
    """A paper account for a live one and the other way round, with another number."""
    letters = account.rstrip("0123456789")
    number = account[len(letters) :][::-1]
    return (letters.removeprefix("D") if letters.startswith("D") else f"D{letters}") + number
