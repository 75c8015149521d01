"""The `result` object that every answer and notification carries."""

from aplus_adapters.protocol.messages.base import Message, message

__all__ = ["Result"]


@message
class Result(Message):
    """What Alipay+ says of a call or of a payment.

    `result_status` is S (success), F (failure) or U (unknown or in process); `result_code` says
    which, `result_message` is for engineers.
    """

    result_code: str
    result_status: str
    result_message: str | None = None

    def __str__(self) -> str:
        return f"{self.result_status} {self.result_code}"
