#!/usr/bin/env bash
# aiortc 1.16.0: of a datagram that holds two DTLS records (RFC 6347 §4.1.1 allows several; DTLS stacks that gather what
# leaves at the same time send such) it reads the first. The second is read when the next datagram comes, whose own record
# then waits in its turn: from there on everything on the data channel is one behind, for the rest of the call. What comes
# last, a close_notify above all, is read by nobody, and the end is noticed when ICE's consent expires, half a minute later.
# Whoever ends a call with such a client sends something behind the end.
#
# Seen on 2026-11-30. Two of its DTLS transports, handed each other's datagrams; three messages are sent, two of them in one
# datagram, then a fourth: what has arrived after each, and the receiver's state a second after the sender's close.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiortc==1.16.0
cat >"$work/expected" <<'END'
first
first second
first second third
connected
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import asyncio
from aiortc import RTCCertificate, RTCDtlsTransport


class Path:
    """What ICE has found: a way for datagrams, here within the process."""

    def __init__(self, role):
        self.role, self.state = role, "completed"
        self.arrived, self.leaving, self.other = asyncio.Queue(), None, None

    async def _recv(self):
        return await self.arrived.get()

    async def _send(self, datagram):
        if self.leaving is None:
            self.other.arrived.put_nowait(datagram)
        else:
            self.leaving += datagram

    async def together(self, *sent):
        """Has several records leave in one datagram."""
        self.leaving = b""
        for each in sent:
            await each
        self.other.arrived.put_nowait(self.leaving)
        self.leaving = None


class Receiver:
    def __init__(self):
        self.messages = []

    async def _handle_data(self, message):
        self.messages.append(message.decode())


async def main():
    there, here = Path("controlling"), Path("controlled")
    there.other, here.other = here, there
    sender, reader = (RTCDtlsTransport(path, [RTCCertificate.generateCertificate()]) for path in (there, here))
    await asyncio.gather(sender.start(reader.getLocalParameters()), reader.start(sender.getLocalParameters()))
    receiver = Receiver()
    reader._register_data_receiver(receiver)

    async def tell():
        await asyncio.sleep(0.5)
        print(*receiver.messages)

    await sender._send_data(b"first")
    await tell()
    await there.together(sender._send_data(b"second"), sender._send_data(b"third"))
    await tell()
    await sender._send_data(b"fourth")
    await tell()
    await sender.stop()
    await asyncio.sleep(1)
    print(reader.state)


asyncio.run(main())
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
