"""What a client has heard, as it tells it: one line of JSON."""

import json


class Heard:
    def __init__(self):
        self.result = {"input_tokens": 0, "output_tokens": 0, "responses": 0, "error": None, "close_code": None}

    def add(self, usage):
        self.result["input_tokens"] += usage["input_tokens"]
        self.result["output_tokens"] += usage["output_tokens"]

    def closed(self, error):
        """The other side closed; `error` is what `websockets` raises then."""
        self.result["close_code"] = error.rcvd.code if error.rcvd else 1006

    def tell(self):
        print(json.dumps(self.result))
