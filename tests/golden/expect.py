#!/usr/bin/env python3
"""Works out NAME.expected.json for every NAME.jsonl here: `python3 tests/golden/expect.py`.

A second opinion: it shares no code, no price list and no JSON reader with tokenist. Prices are typed in from the
providers' pages, in dollars per million tokens or per minute; costs are exact fractions, rounded up once.
"""
import json
from fractions import Fraction
from functools import partial
from math import ceil
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

# text in, cached, out; audio in, cached, out; image in, cached; per minute
FALLBACK = ("5", "5", "20", "40", "40", "80", "5", "5", "0.08")
PRICES = {
    "gpt-realtime": ("4", "0.4", "16", "32", "0.4", "64", "5", "0.5", None),
    "gpt-realtime-1.5": ("4", "0.4", "16", "32", "0.4", "64", "5", "0.5", None),
    "gpt-realtime-2": ("4", "0.4", "24", "32", "0.4", "64", "5", "0.5", None),
    "gpt-realtime-2.1": ("4", "0.4", "24", "32", "0.4", "64", "5", "0.5", None),
    "gpt-realtime-2.1-2026-05-01": ("4", "0.4", "24", "32", "0.4", "64", "5", "0.5", None),
    "gpt-realtime-mini": ("0.6", "0.06", "2.4", "10", "0.3", "20", "0.8", "0.08", None),
    "gpt-4o-realtime-preview-2024-12-17": ("5", "2.5", "20", "40", "2.5", "80", None, None, None),
    "gpt-4o-mini-transcribe": ("1.25", None, "5", "3", None, None, None, None, None),
    "gpt-4o-transcribe": ("2.5", None, "10", "6", None, None, None, None, None),
    "whisper-1": (None,) * 8 + ("0.006",),
    "gpt-realtime-whisper": (None,) * 8 + ("0.017",),
    "gpt-transcribe": (None,) * 8 + ("0.0045",),
    "gpt-realtime-translate": (None,) * 8 + ("0.034",),
    "gpt-live-1": (None,) * 8 + ("0.05",),
    "gpt-6.1-sol": ("2", "0.1", "10", None, None, None, None, None, None),
    "gpt-6-sol": ("2", "0.2", "10", None, None, None, None, None, None),
    "gpt-6-luna": ("0.1", "0.01", "0.5", None, None, None, None, None, None),
    "qwen-audio-3.1-realtime-flash": ("0.23", None, "0.7", "0.93", None, "1.87", None, None, None),
    "nova-3": (None,) * 8 + ("0.0048",),
    "nova-3-multilingual-streaming": (None,) * 8 + ("0.0058",),
    "flux-general-en": (None,) * 8 + ("0.0065",),
    "universal-3.6-pro-realtime": (None,) * 8 + ("0.0075",),
    "u3-rt-pro": (None,) * 8 + ("0.0075",),
    "line-agent": (None,) * 8 + ("0.06",),
    "ink-2": (None,) * 8 + ("0.009",),
    "enhanced": (None,) * 8 + ("0.00215",),
    "voxtral-mini-transcribe-realtime-2602": (None,) * 8 + ("0.006",),
    "voxtral-mini-transcribe-realtime-3-0": (None,) * 8 + ("0.008",),
    "gemini-3.8-flash": ("0.75", "0.075", "3.75", None, None, None, None, None, None),
    "gemini-3.8-live": ("0.75", None, "4.5", "3", None, "12", "1", None, None),
    "gemini-3.5-transcribe-live": ("3.5", None, "21", "3.5", None, None, None, None, None),
    "grok-4.3": ("1.25", "0.2", "2.5", None, None, None, None, None, None),
    "grok-transcribe": (None,) * 8 + ("0.0033333",),
}
KINDS = ("text_in", "cached_text_in", "text_out", "audio_in", "cached_audio_in", "audio_out", "image_in", "cached_image_in")


# Of this tier each kind of token costs so many times as much; text that is written to a cache, for minutes and for hours; a
# search of the web; and models whose text is free beside their sound.
TIERS = {("gpt-6.1-sol", "priority"): 2}
WRITES = {"gpt-6.1-sol": ("2.5", "5")}
SEARCH, GOOGLE_SEARCH = "0.01", "0.014"
FREE_BESIDE_SOUND = {"qwen-audio-3.1-realtime-flash"}


def cost(model, usage, tier=None):
    """The cost in nano-dollars, and whether the model's own list gave all of it."""
    row, known, total = PRICES.get(model), True, Fraction(0)
    if row is None:
        row, known = FALLBACK, False
    fresh = dict(usage)
    for kind in ("text", "audio", "image"):
        fresh[f"{kind}_in"] -= usage[f"cached_{kind}_in"]
    for kind, price in zip(("cache_write_in", "cache_write_long_in"), WRITES.get(model, ())):
        fresh["text_in"] -= usage.get(kind, 0)
        total += usage.get(kind, 0) * Fraction(price) * 1000
    if model in FREE_BESIDE_SOUND and usage["audio_out"]:
        fresh["text_out"] = 0
    for index, kind in enumerate(KINDS):
        if fresh[kind] == 0:
            continue
        price = row[index]
        if price is None and kind.startswith("cached"):
            price = row[index - 1]
        if price is None:
            price, known = FALLBACK[index], False
        total += fresh[kind] * Fraction(price) * 1000
    total = total * TIERS.get((model, tier), 1) + usage.get("searches", 0) * Fraction(GOOGLE_SEARCH if model.startswith("gemini") else SEARCH) * 10**9
    # Of Gemini, video costs what images do.
    if usage.get("video_in"):
        total += usage["video_in"] * Fraction(row[6]) * 1000
    if usage["duration_ms"]:
        price = row[8]
        if price is None:
            price, known = FALLBACK[8], False
        total += Fraction(usage["duration_ms"], 60000) * Fraction(price) * 10**9
    return ceil(total), known


def blank():
    return dict.fromkeys(KINDS + ("reasoning_out", "duration_ms"), 0) | {"requests": 1}


def stated(usage):
    """A provider's usage object as counts; None if it says nothing."""
    if not isinstance(usage, dict) or not any(isinstance(value, (int, float, dict)) and value != {} for value in usage.values()):
        return None
    out = blank()
    if usage.get("type") == "duration":
        out["duration_ms"] = ceil(Fraction(str(usage["seconds"])) * 1000)
        return out
    ins = usage.get("input_token_details") or usage.get("input_tokens_details") or {}
    outs = usage.get("output_token_details") or usage.get("output_tokens_details") or {}
    for kind in ("text", "audio", "image"):
        out[f"{kind}_in"] = ins.get(f"{kind}_tokens", 0)
    out["text_in"] += usage["input_tokens"] - sum(out[f"{kind}_in"] for kind in ("text", "audio", "image"))
    out["audio_out"] = outs.get("audio_tokens", 0)
    out["text_out"] = usage["output_tokens"] - out["audio_out"]
    out["reasoning_out"] = outs.get("reasoning_tokens", 0)
    named = ins.get("cached_tokens_details") or {}
    left = ins.get("cached_tokens", 0)
    for kind in ("text", "audio", "image"):
        out[f"cached_{kind}_in"] = named.get(f"{kind}_tokens", 0)
        left -= out[f"cached_{kind}_in"]
    for kind in ("text", "audio", "image"):
        more = max(0, min(left, out[f"{kind}_in"] - out[f"cached_{kind}_in"]))
        out[f"cached_{kind}_in"] += more
        left -= more
    return out


def estimated(sums):
    return sums["input"] | {
        "audio_out": ceil(Fraction(sums["audio"] * 3 * 20, 4 * sums["rate"])),
        "text_out": ceil(Fraction(sums["text"], 4)),
    }


def written(value):
    """How many bytes a text or a list takes between its quotes or brackets."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) - 2


class Conversation:
    """What a response reads: what was stated last, and what was said since. These transcripts have one side alone."""

    def __init__(self):
        self.settings, self.stated, self.said, self.read = 0, None, [0, 0], [0, 0]

    def begin(self):
        self.read = [a + b for a, b in zip(self.read, self.said)]
        self.said = [0, 0]
        base = self.stated or blank()
        text_bytes = 4 * self.read[0] + (0 if self.stated else self.settings)
        return base | {
            "text_in": base["text_in"] + ceil(Fraction(text_bytes, 4)),
            "audio_in": base["audio_in"] + self.read[1],
        }

    def finish(self, usage, guess):
        if guess:
            self.said = [a + b for a, b in zip(self.said, self.read)]
        else:
            self.stated = blank() | {key: usage[key] for key in KINDS if key.endswith("_in")}
        self.read = [0, 0]
        self.said[0] += usage["text_out"] - usage["reasoning_out"]
        self.said[1] += usage["audio_out"]


def run(lines):
    model, transcriber, rate = None, "unknown", 48000
    running, over, booked, conversation = {}, set(), [], Conversation()

    def book(name, usage, guess):
        nano, known = cost(name, usage)
        booked.append({"model": name, "usage": usage, "cost_nano": nano, "estimated": guess, "known_price": known})

    for line in lines:
        if line.startswith("> "):
            continue  # What the application says is in these transcripts only where it costs nothing.
        try:
            event = json.loads(line)
        except ValueError:
            continue
        kind = event["type"]
        if kind in ("session.created", "session.updated"):
            session = event["session"]
            model = session.get("model", model)
            if "instructions" in session or "tools" in session:
                conversation.settings = sum(written(session[key]) for key in ("instructions", "tools") if key in session)
            audio = session.get("audio", {})
            asr = session.get("input_audio_transcription") or audio.get("input", {}).get("transcription")
            transcriber = asr["model"] if asr else transcriber
            if audio.get("output"):
                rate = 8000 if audio["output"]["format"]["type"] in ("audio/pcmu", "audio/pcma") else 48000
        elif kind == "response.created":
            running[event["response"]["id"]] = {"audio": 0, "text": 0, "rate": rate, "input": conversation.begin()}
        elif kind.startswith("response.") and kind.endswith(".delta"):
            if event["response_id"] not in over:
                of = "audio" if kind.endswith("audio.delta") else "text"
                # As it stands in the event, escapes included.
                raw = json.dumps(event["delta"], ensure_ascii=False)
                running[event["response_id"]][of] += len(raw.encode()) - 2
        elif kind == "response.done":
            response = event["response"]
            sums = running.pop(response["id"], None)
            if response["id"] in over:
                continue
            over.add(response["id"])
            usage = stated(response.get("usage")) or stated(event.get("usage"))
            conversation.finish(usage or estimated(sums), usage is None)
            book(model, usage or estimated(sums), usage is None)
        elif kind == "conversation.item.input_audio_transcription.completed":
            if event["item_id"] not in over and "usage" in event:
                over.add(event["item_id"])
                book(transcriber, stated(event["usage"]), False)
    for sums in running.values():
        book(model, estimated(sums), True)
    return booked


def gemini(usage):
    """usageMetadata as counts. Thoughts and tool prompts are extra; what the details leave of a count is text, or belongs to
    the entry that has no count of its own."""
    out = blank()

    def spread(total, details, suffix):
        def add(name, count):
            if count:
                out[name + suffix] = out.get(name + suffix, 0) + count

        names = {"TEXT": "text", "AUDIO": "audio", "IMAGE": "image", "VIDEO": "video"}
        known = sum(entry.get("tokenCount", 0) for entry in details)
        heir = next((names[entry["modality"]] for entry in details if "tokenCount" not in entry), "text")
        for entry in details:
            add(names[entry["modality"]], entry.get("tokenCount", 0))
        add(heir, max(0, total - known))

    said = usage.get("responseTokenCount", usage.get("candidatesTokenCount", 0))
    spread(usage["promptTokenCount"], usage.get("promptTokensDetails", []), "_in")
    spread(usage.get("toolUsePromptTokenCount", 0), usage.get("toolUsePromptTokensDetails", []), "_in")
    spread(said, usage.get("responseTokensDetails", usage.get("candidatesTokensDetails", [])), "_out")
    out["reasoning_out"] = usage.get("thoughtsTokenCount", 0)
    out["text_out"] += out["reasoning_out"]
    left = usage.get("cachedContentTokenCount", 0)
    for entry in usage.get("cacheTokensDetails", []):
        out[f"cached_{entry['modality'].lower()}_in"] += entry["tokenCount"]
        left -= entry["tokenCount"]
    out["cached_text_in"] += left
    return out


def run_gemini(lines):
    """Every usage is a booking of its own, with the queries that the web was searched for in its turn; the application's lines
    begin with `> `."""
    model, booked, searches = None, [], 0
    for line in lines:
        event = json.loads(line.removeprefix("> "))
        queries = event.get("serverContent", {}).get("groundingMetadata", {}).get("webSearchQueries", [])
        searches = max(searches, len(queries))
        if "setup" in event:
            model = event["setup"]["model"].removeprefix("models/")
        if "usageMetadata" in event:
            usage = gemini(event["usageMetadata"]) | ({"searches": searches} if searches else {})
            searches = 0
            nano, known = cost(model, usage)
            booked.append({"model": model, "usage": usage, "cost_nano": nano, "estimated": False, "known_price": known})
    return booked


def run_written(lines):
    """Sound that is written down, whose cost nobody states: 25 tokens a second, booked in pieces of six seconds and at the end."""
    model, characters, booked = "gemini-3.5-transcribe-live", 0, []
    whole = 6 * 32000 * 4 // 3

    def book(characters, requests):
        usage = blank() | {"audio_in": ceil(Fraction(characters * 3, 4 * 32000) * 25), "requests": requests}
        nano, known = cost(model, usage)
        booked.append({"model": model, "usage": usage, "cost_nano": nano, "estimated": True, "known_price": known})

    for line in lines:
        characters += len(json.loads(line.removeprefix("> ")).get("realtimeInput", {}).get("audio", {}).get("data", ""))
        if characters >= whole:
            book(characters // whole * whole, 0)
            characters %= whole
    book(characters, 1)
    return booked


def run_speech(lines):
    """Characters of text as they are sent, in dollars per million; an end of the provider's is a request."""
    model, booked = None, []
    for line in lines:
        if line.startswith("? "):
            asked = dict(parse_qsl(urlsplit(line[2:]).query))
            model = asked.get("model_id", asked.get("model"))
            continue
        event = json.loads(line.removeprefix("> "))
        row = lambda usage, nano: {"model": model, "usage": usage, "cost_nano": nano, "estimated": False, "known_price": True}
        if line.startswith("> "):
            model = event.get("model_id", model)
            text = event.get("transcript", event.get("text", ""))
            if text.strip():
                nano = ceil(len(text) * Fraction(SPOKEN[model]) * 1000)
                booked.append(row(blank() | {"characters_in": len(text), "requests": 0}, nano))
        elif event.get("type") in ("done", "speech.audio.done") or event.get("isFinal"):
            booked.append(row(blank(), 0))
    return booked


SPOKEN = {"sonic-3": "50", "sonic-turbo": "50", "eleven_v4_turbo": "40", "voxtral-mini-tts-2603": "16"}


def run_translation(lines):
    """Pcm of 48 bytes a millisecond, four characters of base64 for three bytes; what `session.closed` states goes before it."""
    model, characters, stated_seconds = None, 0, None
    for line in lines:
        event = json.loads(line.removeprefix("> "))
        if event["type"] == "session.created":
            model = event["session"]["model"]
        elif event["type"] == "session.input_audio_buffer.append":
            characters += len(event["audio"])
        elif event["type"] == "session.closed" and "usage" in event:
            stated_seconds = Fraction(str(event["usage"]["input_seconds"]))
    seconds = Fraction(characters * 3, 4 * 48000) if stated_seconds is None else stated_seconds
    usage = blank() | {"duration_ms": int(seconds * 1000)}
    nano, known = cost(model, usage)
    return [{"model": model, "usage": usage, "cost_nano": nano, "estimated": stated_seconds is None, "known_price": known}]


def responses(usage):
    """Responses' usage: cached and reasoning are parts."""
    details = usage["input_tokens_details"]
    written = details.get("cache_write_tokens_details", {})
    return blank() | {
        "text_in": usage["input_tokens"],
        "cached_text_in": details["cached_tokens"],
        "cache_write_in": written.get("ttl_30m_tokens", 0),
        "cache_write_long_in": written.get("ttl_12h_tokens", 0),
        "text_out": usage["output_tokens"],
        "reasoning_out": usage["output_tokens_details"]["reasoning_tokens"],
    }


def booking(model, usage, nano=None):
    cost_nano, known = cost(model, usage)
    nano = cost_nano if nano is None else nano
    return {"model": model, "usage": usage, "cost_nano": nano, "estimated": False, "known_price": known}


def grown(model, seconds, before):
    """What a running total has grown by: the difference of two prices of the whole. It is one request, whose first part counts."""
    usage = blank() | {"duration_ms": ceil(Fraction(str(seconds)) * 1000)}
    more = usage | {"duration_ms": usage["duration_ms"] - before["duration_ms"], "requests": 1 - before["requests"]}
    return usage, booking(model, more, cost(model, usage)[0] - cost(model, before)[0])


def run_live(lines):
    """The greatest of the seconds so far, and each delegated Response once by its id."""
    model, so_far, over, booked = "gpt-live-1", blank() | {"requests": 0}, set(), []
    for line in lines:
        if line.startswith("? "):
            continue
        event = json.loads(line.removeprefix("> "))
        if event["type"] == "session.started":
            model = event["session"]["model"]
        seconds = event.get("usage", {}).get("seconds")
        if seconds is not None and Fraction(str(seconds)) * 1000 > so_far["duration_ms"]:
            so_far, row = grown(model, seconds, so_far)
            booked.append(row)
        response = event.get("event", {}).get("response", {})
        if response.get("usage") and event["event"]["type"] != "response.created" and response["id"] not in over:
            over.add(response["id"])
            usage = responses(response["usage"])
            searches = response.get("tool_usage", {}).get("web_search", {}).get("num_requests", 0)
            usage |= {"searches": searches} if searches else {}
            booked.append(booking(response["model"], usage, cost(response["model"], usage, response.get("service_tier"))[0]))
        decision = event.get("event", {}).get("decision", {})
        if decision.get("usage") and decision["id"] not in over:
            over.add(decision["id"])
            usage = responses(decision["usage"])
            # What a decision says is free.
            nano, _ = cost(decision["model"], usage | {"text_out": 0})
            booked.append(booking(decision["model"], usage, nano))
    return booked


def run_responses(lines):
    """What the event that ends a response states, once by its id; a failed one without usage is nothing."""
    over, booked = set(), []
    for line in lines:
        response = {} if line.startswith("> ") else json.loads(line).get("response", {})
        if response.get("usage") and response["id"] not in over:
            over.add(response["id"])
            usage = responses(response["usage"])
            searches = response.get("tool_usage", {}).get("web_search", {}).get("num_requests", 0)
            usage |= {"searches": searches} if searches else {}
            nano, _ = cost(response["model"], usage, response.get("service_tier"))
            booked.append(booking(response["model"], usage, nano))
    return booked


def run_xai(lines):
    """Tokens cost nothing; the greatest of the seconds does, at 0.08 a minute, and every item of text, at 0.004."""
    model, milliseconds, over, pending, booked = "grok-voice-latest", 0, set(), [], []
    row = lambda usage, nano: {"model": model, "usage": usage, "cost_nano": nano, "estimated": False, "known_price": True}
    price = lambda ms: ceil(Fraction(ms, 60000) * Fraction("0.08") * 10**9)
    for line in lines:
        event = json.loads(line.removeprefix("> "))
        item = event.get("item", {})
        if line.startswith("> ") and event["type"] == "conversation.item.create":
            if item["type"] == "message" and item["content"][0]["type"] == "input_text":
                pending.append(row(blank() | {"items_in": 1, "requests": 0}, 4_000_000))
        elif not line.startswith("> ") and event["type"] in READ:
            booked += pending
            pending = []
        if event["type"] == "response.done":
            now = ceil(Fraction(str(event["usage"]["billable_audio_seconds"])) * 1000)
            if now > milliseconds:
                booked.append(row(blank() | {"duration_ms": now - milliseconds, "requests": 0}, price(now) - price(milliseconds)))
                milliseconds = now
            if event["response_id"] not in over:
                over.add(event["response_id"])
                booked.append(row(stated(event["usage"]), 0))
    return booked + pending


# Events of the provider that are read whole; what the application has said is booked with the next of them.
READ = ("session.updated", "response.created", "response.done", "input_audio_buffer.committed", "conversation.item.added")

# Where a provider's protocol says what, by how a transcript's name begins: see `run_timed`.
TIMED = {
    "xai_stt": {"model": "grok-transcribe"},
    "deepgram_agent": {"model": "voice-agent"},
    "deepgram": {"model": "base", "sound": "binary", "end": ("Metadata", ["duration"], ["channels"])},
    "assemblyai": {"model": "universal-streaming-english", "named": "speech_model", "begin": "Begin",
                   "end": ("Termination", ["session_duration_seconds"], None)},
    "elevenlabs_agent": {"model": "convai"},
    "cartesia_agent": {"model": "line-agent"},
    "cartesia": {"model": "ink-whisper", "sound": "binary", "encoding": "pcm_s16le"},
    "speechmatics": {"model": "standard", "sound": "binary"},
    "mistral": {"model": None, "sound": "base64", "encoding": "pcm_s16le",
                "end": ("transcription.done", ["usage", "prompt_audio_seconds"], None)},
}
WIDTHS = {"linear16": 2, "pcm_s16le": 2, "linear32": 4, "mulaw": 1, "pcm_mulaw": 1}


def dig(value, path):
    for key in path:
        value = value[key]
    return value


def run_timed(of, lines):
    """`? TARGET` is what was asked for, `# N` so many bytes of sound, `@ N` so many milliseconds that pass; all other lines
    come 20 ms after the one before."""
    model, form, stated = of["model"], {"encoding": of.get("encoding"), "sample_rate": "16000"}, None
    sound_bytes, clock, began = Fraction(0), 0, None
    for line in lines:
        mark, rest = line[:2], line[2:]
        clock += int(rest) if mark == "@ " else 20
        if mark == "? ":
            asked = dict(parse_qsl(urlsplit(rest).query))
            form |= {key: asked[key] for key in ("encoding", "sample_rate", "channels", "multichannel") if key in asked}
            model = asked.get(of.get("named", "model"), model) if "agent" not in rest else model
            is_multi = asked.get("language") == "multi" and model in ("nova-3", "nova-3-general")
            began = None if "begin" in of else clock
        elif mark == "# ":
            sound_bytes += int(rest)
        elif line.startswith("> {") or line.startswith("{"):
            event = json.loads(line.removeprefix("> "))
            kind = event.get("message") if "message" in event else event.get("type")
            if kind == "StartRecognition":
                form |= {key: event["audio_format"].get(key) for key in ("encoding", "sample_rate")}
                model = event["transcription_config"].get("operating_point", model)
            elif kind in ("session.created", "session.updated"):
                form |= event["session"]["audio_format"]
            elif kind == "input_audio.append":
                sound_bytes += Fraction(len(event["audio"]) * 3, 4)
            elif "begin" in of and kind == of["begin"]:
                began = clock
            elif "end" in of and kind == of["end"][0]:
                stated = Fraction(str(dig(event, of["end"][1]))) * (dig(event, of["end"][2]) if of["end"][2] else 1)
    width = WIDTHS.get(form["encoding"])
    if stated is not None:
        ms = ceil(stated * 1000)
    elif "sound" in of and width:
        channels = 1 if form.get("multichannel") == "true" else int(form.get("channels", 1))
        ms = int(sound_bytes * 1000 / (width * int(form["sample_rate"]) * channels))
    else:
        ms = clock - began
    usage = blank() | {"duration_ms": ms}
    # The language is a term: what it costs is another price of the same model.
    nano, known = cost("nova-3-multilingual-streaming" if is_multi else model, usage)
    return [{"model": model, "usage": usage, "cost_nano": nano, "estimated": stated is None, "known_price": known}]


def run_interactions(lines):
    """Google's Interactions: one usage at the end, with thoughts and tool use beside what is read and said."""
    model, booked = None, []
    for line in lines[1:]:
        frame = json.loads(line.removeprefix("> "))
        for event in frame.get("events", [frame]):
            if event["event_type"] == "interaction.create":
                model = event["model"].removeprefix("models/")
            if event["event_type"] == "interaction.completed":
                stated = event["usage"]
                usage = blank() | {
                    "text_in": stated["total_input_tokens"] + stated["total_tool_use_tokens"],
                    "cached_text_in": stated["total_cached_tokens"],
                    "text_out": stated["total_output_tokens"] + stated["total_thought_tokens"],
                    "reasoning_out": stated["total_thought_tokens"],
                }
                nano, known = cost(model, usage)
                booked.append({"model": model, "usage": usage, "cost_nano": nano, "estimated": False, "known_price": known})
    return booked


READERS = (
    ("gemini_live_transcribe", run_written),
    ("gemini", run_gemini),
    ("cartesia_speech", run_speech),
    ("elevenlabs_speech", run_speech),
    ("mistral_speech", run_speech),
    ("translation", run_translation),
    ("gpt_live", run_live),
    ("responses_ws", run_responses),
    ("xai_responses", run_responses),
    ("xai_stt", partial(run_timed, TIMED["xai_stt"])),
    ("xai", run_xai),
    ("interactions", run_interactions),
    *((start, partial(run_timed, of)) for start, of in TIMED.items()),
    ("", run),
)


def main():
    here = Path(__file__).parent
    for transcript in sorted(here.glob("*.jsonl")):
        if transcript.stem == "odd_json":
            continue  # Written by hand: what is odd about it is how it reads.
        read = next(reader for start, reader in READERS if transcript.stem.startswith(start))
        booked = read(transcript.read_text().splitlines())
        total = sum(row["cost_nano"] for row in booked)
        text = json.dumps({"total_cost_nano": total, "booked": booked}, indent=1)
        transcript.with_suffix("").with_suffix(".expected.json").write_text(text + "\n")


main()
