"""What the page says, by language, and amounts the way buyers read them."""

# ruff: noqa: RUF001  # full-width punctuation is right in Chinese and Japanese

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import InvalidValue

if TYPE_CHECKING:
    from aplus_adapters.protocol.amounts import Amount

__all__ = ["TEXTS", "choose_language", "format_amount", "merge_texts", "translate_reason"]

_EN = {
    "title": "Payment",
    "waiting": "Scan the code with your wallet",
    "waiting_more": "Open an Alipay+ partner wallet, scan the code and confirm the payment.",
    "retrying": "Preparing your payment",
    "retrying_more": "We are still trying to reach the payment service. Your order is kept and nothing has been charged. Please keep this page open.",
    "checking": "Checking your payment",
    "checking_more": "The code has expired. We are checking whether a payment arrived.",
    "paid": "Paid. Thank you!",
    "failed": "The payment did not succeed",
    "failed_more": "Please try again, or use another wallet.",
    "because_unavailable": "This payment cannot be made at the moment. Please choose another way to pay.",
    "because_refused": "The payment was not accepted. Please try another wallet or another way to pay.",
    "because_amount": "The amount is too high for this way to pay. Please choose another one.",
    "because_count": "Your wallet allows no more payments for now. Please try later or another wallet.",
    "because_limit": "The amount is above the limit of your wallet. Please try another one.",
    "because_balance": "Your wallet does not hold enough money for this payment.",
    "because_identity": "Your wallet asks you to verify your identity first.",
    "because_confirmation": "The confirmation in your wallet failed. Please try again.",
    "because_expired": "This code has expired. Please ask for a new one.",
    "expired": "This code has expired",
    "expired_more": "Nothing was charged. You can get a new code.",
    "cancelled": "The payment was cancelled",
    "returned": "This payment was cancelled",
    "returned_more": "If you have paid, you get the money back by itself. You can get a new code.",
    "refunded": "This payment was refunded",
    "refunded_more": "The money goes back to your wallet. You can pay the order anew.",
    "conflict": "Your payment is being looked into",
    "conflict_more": "You may have been charged. The shop has been told. Please do not pay again, and contact the shop.",
    "remaining": "Time left",
    "new_code": "Get a new code",
    "open_wallet": "Open in wallet",
    "return": "Back to the shop",
    "order": "Order",
    "qr": "Order code to scan",
    "amount": "{currency} {number}",
    "thousands": ",",
    "decimal": ".",
}
_ZH = {
    "title": "付款",
    "waiting": "请用钱包扫描二维码",
    "waiting_more": "打开 Alipay+ 合作钱包，扫码并确认付款。",
    "retrying": "正在准备付款",
    "retrying_more": "我们仍在尝试连接支付服务。您的订单已保留，未扣款。请不要关闭此页面。",
    "checking": "正在确认您的付款",
    "checking_more": "二维码已过期，我们正在查询付款是否到账。",
    "paid": "付款成功，谢谢！",
    "failed": "付款未成功",
    "failed_more": "请重试，或使用其他钱包。",
    "because_unavailable": "目前无法使用此方式付款，请选择其他付款方式。",
    "because_refused": "付款未被接受，请换用其他钱包或其他付款方式。",
    "because_amount": "金额超出此付款方式的上限，请选择其他付款方式。",
    "because_count": "您的钱包暂时无法再付款，请稍后再试或换用其他钱包。",
    "because_limit": "金额超出您钱包的限额，请换用其他钱包。",
    "because_balance": "您的钱包余额不足。",
    "because_identity": "请先在您的钱包中完成身份验证。",
    "because_confirmation": "钱包中的付款验证未通过，请重试。",
    "because_expired": "二维码已过期，请获取新的二维码。",
    "expired": "二维码已过期",
    "expired_more": "未扣款。您可以获取新的二维码。",
    "cancelled": "付款已取消",
    "returned": "此付款已取消",
    "returned_more": "如果您已付款，款项会自动退回。您可以获取新的二维码。",
    "refunded": "此付款已退款",
    "refunded_more": "款项将退回您的钱包。您可以重新支付此订单。",
    "conflict": "正在核查您的付款",
    "conflict_more": "您可能已被扣款，商店已收到通知。请勿再次付款，并联系商店。",
    "remaining": "剩余时间",
    "new_code": "获取新二维码",
    "open_wallet": "在钱包中打开",
    "return": "返回商店",
    "order": "订单",
    "qr": "待扫描的付款码",
    "amount": "{currency} {number}",
    "thousands": ",",
    "decimal": ".",
}
_ZH_HANT = {
    "title": "付款",
    "waiting": "請用錢包掃描條碼",
    "waiting_more": "打開 Alipay+ 合作錢包，掃描條碼並確認付款。",
    "retrying": "正在準備付款",
    "retrying_more": "我們仍在嘗試連線至付款服務。您的訂單已保留，尚未扣款。請勿關閉此頁面。",
    "checking": "正在確認您的付款",
    "checking_more": "條碼已過期，我們正在查詢款項是否已入帳。",
    "paid": "付款成功，謝謝！",
    "failed": "付款未成功",
    "failed_more": "請再試一次，或使用其他錢包。",
    "because_unavailable": "目前無法使用此方式付款，請選擇其他付款方式。",
    "because_refused": "付款未獲接受，請改用其他錢包或其他付款方式。",
    "because_amount": "金額超過此付款方式的上限，請選擇其他付款方式。",
    "because_count": "您的錢包暫時無法再付款，請稍後再試或改用其他錢包。",
    "because_limit": "金額超過您錢包的限額，請改用其他錢包。",
    "because_balance": "您的錢包餘額不足。",
    "because_identity": "請先在您的錢包中完成身分驗證。",
    "because_confirmation": "錢包中的付款驗證未通過，請再試一次。",
    "because_expired": "二維碼已過期，請取得新的二維碼。",
    "expired": "條碼已過期",
    "expired_more": "尚未扣款。您可以取得新的條碼。",
    "cancelled": "付款已取消",
    "returned": "此付款已取消",
    "returned_more": "如果您已付款，款項會自動退回。您可以取得新的二維碼。",
    "refunded": "此付款已退款",
    "refunded_more": "款項將退回您的錢包。您可以重新支付此訂單。",
    "conflict": "正在查核您的付款",
    "conflict_more": "您可能已被扣款，商店已收到通知。請勿再次付款，並聯絡商店。",
    "remaining": "剩餘時間",
    "new_code": "取得新條碼",
    "open_wallet": "在錢包中開啟",
    "return": "返回商店",
    "order": "訂單",
    "qr": "待掃描的付款碼",
    "amount": "{currency} {number}",
    "thousands": ",",
    "decimal": ".",
}
_JA = {
    "title": "お支払い",
    "waiting": "ウォレットでコードを読み取ってください",
    "waiting_more": "Alipay+ 対応ウォレットでコードを読み取り、支払いを確定してください。",
    "retrying": "お支払いの準備をしています",
    "retrying_more": "決済サービスへの接続を続けています。ご注文は保持され、請求は発生していません。このページを開いたままお待ちください。",
    "checking": "お支払いを確認しています",
    "checking_more": "コードの有効期限が切れました。入金を確認しています。",
    "paid": "お支払いが完了しました。ありがとうございます。",
    "failed": "お支払いは完了しませんでした",
    "failed_more": "もう一度お試しになるか、別のウォレットをご利用ください。",
    "because_unavailable": "現在この方法ではお支払いいただけません。別のお支払い方法をお選びください。",
    "because_refused": "お支払いが承認されませんでした。別のウォレットまたは別のお支払い方法をお試しください。",
    "because_amount": "金額がこのお支払い方法の上限を超えています。別のお支払い方法をお選びください。",
    "because_count": "ウォレットのお支払い回数の上限に達しました。時間をおくか、別のウォレットをお試しください。",
    "because_limit": "金額がウォレットの上限を超えています。別のウォレットをお試しください。",
    "because_balance": "ウォレットの残高が不足しています。",
    "because_identity": "先にウォレットで本人確認を行ってください。",
    "because_confirmation": "ウォレットでの確認に失敗しました。もう一度お試しください。",
    "because_expired": "コードの有効期限が切れました。新しいコードを取得してください。",
    "expired": "コードの有効期限が切れました",
    "expired_more": "請求は発生していません。新しいコードを取得できます。",
    "cancelled": "お支払いは取り消されました",
    "returned": "このお支払いは取り消されました",
    "returned_more": "お支払い済みの場合、代金は自動的に返金されます。新しいコードを取得できます。",
    "refunded": "このお支払いは返金されました",
    "refunded_more": "代金はウォレットに返金されます。ご注文を改めてお支払いいただけます。",
    "conflict": "お支払いを確認中です",
    "conflict_more": "請求が発生した可能性があります。店舗には連絡済みです。再度のお支払いはせず、店舗にお問い合わせください。",
    "remaining": "残り時間",
    "new_code": "新しいコードを取得",
    "open_wallet": "ウォレットで開く",
    "return": "ショップに戻る",
    "order": "注文",
    "qr": "読み取り用コード",
    "amount": "{currency} {number}",
    "thousands": ",",
    "decimal": ".",
}
_KO = {
    "title": "결제",
    "waiting": "지갑으로 코드를 스캔하세요",
    "waiting_more": "Alipay+ 제휴 지갑에서 코드를 스캔하고 결제를 확인하세요.",
    "retrying": "결제를 준비하고 있습니다",
    "retrying_more": "결제 서비스에 계속 연결을 시도하고 있습니다. 주문은 유지되며 청구되지 않았습니다. 이 페이지를 열어 두세요.",
    "checking": "결제를 확인하고 있습니다",
    "checking_more": "코드의 유효 시간이 지났습니다. 결제 여부를 확인하고 있습니다.",
    "paid": "결제가 완료되었습니다. 감사합니다!",
    "failed": "결제가 완료되지 않았습니다",
    "failed_more": "다시 시도하거나 다른 지갑을 이용하세요.",
    "because_unavailable": "지금은 이 방법으로 결제할 수 없습니다. 다른 결제 수단을 선택하세요.",
    "because_refused": "결제가 승인되지 않았습니다. 다른 지갑이나 다른 결제 수단을 이용하세요.",
    "because_amount": "금액이 이 결제 수단의 한도를 초과합니다. 다른 결제 수단을 선택하세요.",
    "because_count": "지갑의 결제 횟수 한도에 도달했습니다. 나중에 다시 시도하거나 다른 지갑을 이용하세요.",
    "because_limit": "금액이 지갑 한도를 초과합니다. 다른 지갑을 이용하세요.",
    "because_balance": "지갑 잔액이 부족합니다.",
    "because_identity": "먼저 지갑에서 본인 인증을 완료하세요.",
    "because_confirmation": "지갑에서 결제 확인에 실패했습니다. 다시 시도하세요.",
    "because_expired": "코드가 만료되었습니다. 새 코드를 받으세요.",
    "expired": "코드가 만료되었습니다",
    "expired_more": "청구되지 않았습니다. 새 코드를 받을 수 있습니다.",
    "cancelled": "결제가 취소되었습니다",
    "returned": "이 결제는 취소되었습니다",
    "returned_more": "이미 결제하셨다면 금액이 자동으로 환불됩니다. 새 코드를 받을 수 있습니다.",
    "refunded": "이 결제는 환불되었습니다",
    "refunded_more": "금액이 지갑으로 환불됩니다. 주문을 다시 결제할 수 있습니다.",
    "conflict": "결제를 확인하고 있습니다",
    "conflict_more": "요금이 청구되었을 수 있습니다. 상점에 알렸습니다. 다시 결제하지 말고 상점에 문의해 주세요.",
    "remaining": "남은 시간",
    "new_code": "새 코드 받기",
    "open_wallet": "지갑에서 열기",
    "return": "상점으로 돌아가기",
    "order": "주문",
    "qr": "스캔할 코드",
    "amount": "{currency} {number}",
    "thousands": ",",
    "decimal": ".",
}
# The mark U+200E keeps the plus on the right of Alipay.
_AR = {
    "title": "الدفع",
    "waiting": "امسح الرمز بمحفظتك",
    "waiting_more": "افتح محفظة شريكة لـ Alipay+\u200e وامسح الرمز وأكد الدفع.",
    "retrying": "جار تجهيز الدفع",
    "retrying_more": "ما زلنا نحاول الوصول إلى خدمة الدفع. طلبك محفوظ ولم يخصم شيء. يرجى إبقاء هذه الصفحة مفتوحة.",
    "checking": "نتحقق من دفعتك",
    "checking_more": "انتهت مدة الرمز. نسأل إن كانت دفعتك قد وصلت.",
    "paid": "تم الدفع. شكرا لك!",
    "failed": "لم تنجح عملية الدفع",
    "failed_more": "يرجى المحاولة مرة أخرى أو استخدام محفظة أخرى.",
    "because_unavailable": "لا يمكن إتمام هذا الدفع حاليا. يرجى اختيار طريقة دفع أخرى.",
    "because_refused": "لم يقبل الدفع. يرجى تجربة محفظة أخرى أو طريقة دفع أخرى.",
    "because_amount": "المبلغ أعلى من حد طريقة الدفع هذه. يرجى اختيار طريقة أخرى.",
    "because_count": "لا تسمح محفظتك بمزيد من المدفوعات حاليا. يرجى المحاولة لاحقا أو استخدام محفظة أخرى.",
    "because_limit": "المبلغ أعلى من حد محفظتك. يرجى استخدام محفظة أخرى.",
    "because_balance": "رصيد محفظتك لا يكفي لهذا الدفع.",
    "because_identity": "تطلب محفظتك التحقق من هويتك أولا.",
    "because_confirmation": "فشل التأكيد في محفظتك. يرجى المحاولة مرة أخرى.",
    "because_expired": "انتهت صلاحية الرمز. يرجى طلب رمز جديد.",
    "expired": "انتهت صلاحية الرمز",
    "expired_more": "لم يخصم شيء. يمكنك الحصول على رمز جديد.",
    "cancelled": "ألغيت عملية الدفع",
    "returned": "ألغيت عملية الدفع هذه",
    "returned_more": "إذا كنت قد دفعت فسيعاد المبلغ إليك تلقائيا. يمكنك الحصول على رمز جديد.",
    "refunded": "أعيد مبلغ هذه العملية",
    "refunded_more": "يعاد المبلغ إلى محفظتك. يمكنك دفع الطلب من جديد.",
    "conflict": "يجري التحقق من دفعتك",
    "conflict_more": "ربما خصم المبلغ منك. أبلغ المتجر بذلك. يرجى عدم الدفع مرة أخرى والتواصل مع المتجر.",
    "remaining": "الوقت المتبقي",
    "new_code": "رمز جديد",
    "open_wallet": "فتح في المحفظة",
    "return": "العودة إلى المتجر",
    "order": "الطلب",
    "qr": "رمز الدفع للمسح",
    "amount": "{number} {currency}",
    "thousands": ",",
    "decimal": ".",
}

TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"en": _EN, "zh": _ZH, "zh-Hant": _ZH_HANT, "ja": _JA, "ko": _KO, "ar": _AR}
)
"""Language to text key to text; every language has every key."""

# A result's text for buyers (protocol.results) to its key here; English stands in both.
_REASONS = {text: key for key, text in _EN.items() if key.startswith("because_")}

# RFC 9110, 12.5.4: a language range, and a weight from 0 to 1 with at most three decimals.
_ITEM = re.compile(
    r"[ \t]*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,7})[ \t]*"
    r"(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)
_MAX_HEADER = 1000
# A language, its script and its region, as BCP 47 spells them.
_TAG = re.compile(r"([A-Za-z]{2,3})(?:-([A-Za-z]{4}))?(?:-([A-Za-z]{2}|[0-9]{3}))?")
# Where Chinese is written in traditional characters unless the tag says otherwise.
_TRADITIONAL = ("TW", "HK", "MO")


def merge_texts(own: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    """Put a shop's texts over ours, by language.

    A language may be a regional one such as `pt-BR`. What it leaves out is taken from the wider one
    (`pt`), then from English. Raises InvalidValue for a key that no page shows, for what is no
    language, for one that is there twice, or for an `amount` that leaves out the currency or the
    number.
    """
    named: dict[str, Mapping[str, str]] = {}
    for language, texts in _pairs(own):
        _check_texts(language, texts)
        if (tag := _spelled(language)) in named:
            raise InvalidValue(f"texts: found {tag} twice, expected each language once; join them")
        named[tag] = texts
    merged = {}
    for language in {**TEXTS, **named}:
        wider = reversed(_lookup(language))
        layers = [layer.get(tag, {}) for tag in wider for layer in (TEXTS, named)]
        merged[language] = {key: text for layer in (_EN, *layers) for key, text in layer.items()}
    return MappingProxyType(merged)


def _pairs(own: object) -> list[tuple[Any, Any]]:
    if not isinstance(own, Mapping):
        raise InvalidValue(
            f"texts: found {type(own).__name__}, expected texts by language, such as "
            '{"en": {"paid": "Thanks!"}}'
        )
    return list(own.items())


def _check_texts(language: object, texts: object) -> None:
    is_language = isinstance(language, str) and _TAG.fullmatch(language) is not None
    keys = set(texts) if isinstance(texts, Mapping) else {"no texts"}
    unknown = sorted(map(str, keys - set(_EN)))
    if unknown or not is_language:
        raise InvalidValue(
            f"texts: found {language!r} with {', '.join(unknown) or 'texts'}, expected a "
            f"language such as 'fr' or 'pt-BR' with any of {', '.join(_EN)}"
        )
    assert isinstance(texts, Mapping)  # noqa: S101  # for the type checkers
    if strange := [key for key, text in texts.items() if not isinstance(text, str)]:
        raise InvalidValue(
            f"texts: found {type(texts[strange[0]]).__name__} for {language!r} {strange[0]}, "
            "expected text"
        )
    amount = texts.get("amount", _EN["amount"])
    if not all(part in amount for part in ("{currency}", "{number}")):
        raise InvalidValue(
            f"texts: found the {language!r} amount {amount!r}, expected both {{currency}} and "
            "{number} in it"
        )


def _spelled(language: str) -> str:
    """Return a language tag in the letters that BCP 47 recommends: zh-Hant-TW."""
    first, *others = language.split("-")
    cased = (part.title() if len(part) == 4 else part.upper() for part in others)
    return "-".join((first.lower(), *cased))


def _lookup(tag: str) -> list[str]:
    """Return the languages that suit a tag, the closest first (RFC 4647, 3.4: lookup).

    The end is taken off bit by bit. Chinese of Taiwan, Hong Kong and Macao is tried with its script
    before that, as otherwise it would end in the other one.
    """
    parts = _spelled(tag).split("-")
    tags = []
    while parts:
        tags.append("-".join(parts))
        match parts:
            case ["zh", region] if region in _TRADITIONAL:
                tags += [f"zh-Hant-{region}", "zh-Hant"]
            case ["zh", "Hant", region]:
                tags.append(f"zh-{region}")
        parts.pop()
        if len(parts) > 1 and len(parts[-1]) == 1:  # it only introduces what was taken off
            parts.pop()
    return list(dict.fromkeys(tags))


def translate_reason(message: str, texts: Mapping[str, str]) -> str:
    """Return why a payment failed in the language of `texts`; a text that is not ours as it is."""
    return texts.get(_REASONS.get(message, ""), message)


def choose_language(
    accept_language: str | None, texts: Mapping[str, Mapping[str, str]] = TEXTS
) -> str:
    """Choose the language of `texts` that an Accept-Language header prefers, English otherwise.

    Takes any text; items that RFC 9110 does not allow count for nothing.

    >>> choose_language("fr;q=1, zh-Hans-CN;q=0.9, en;q=0.8")
    'zh'
    >>> choose_language("zh-TW, zh;q=0.8")
    'zh-Hant'
    """
    best, weight = "en", 0.0
    for item in (accept_language or "")[:_MAX_HEADER].split(","):
        match = _ITEM.fullmatch(item)
        quality = float(match[2] or 1) if match else 0.0
        if match is None or quality <= weight:
            continue
        language = next((tag for tag in _lookup(match[1]) if tag in texts), None)
        if language is not None:
            best, weight = language, quality
    return best


def format_amount(amount: Amount, texts: Mapping[str, str] = _EN) -> str:
    """Write an amount for a buyer: grouped digits and the currency's ISO code, never ambiguous.

    `texts` are those of the buyer's language: its `amount` says where the code stands, `thousands`
    and `decimal` how the number is written. Western digits are kept in every language: they are
    what the wallet shows. Raises InvalidValue if ISO 4217 has no such currency.

    >>> from aplus_adapters.protocol.amounts import Amount
    >>> format_amount(Amount("USD", 123456)), format_amount(Amount("JPY", 4200), TEXTS["ar"])
    ('USD 1,234.56', '4,200 JPY')
    """
    whole, point, decimals = amount.format().partition(".")
    number = f"{int(whole):,}".replace(",", texts["thousands"])
    number += texts["decimal"] * bool(point) + decimals
    return texts["amount"].replace("{currency}", amount.currency).replace("{number}", number)
