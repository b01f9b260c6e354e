#!/usr/bin/env python3
"""Works out NAME.expected.json for every NAME.jsonl here: `python3 tests/golden/http/expect.py`.

A second opinion, as the one for sockets: it shares no code, no price list and no JSON reader with tokenist. Each reader makes
rows of a model, counts, the tier or factor that changes prices, and whether it is a guess.
"""
import json
from collections import Counter
from fractions import Fraction
from math import ceil
from pathlib import Path

# Dollars per million tokens or characters, per minute, and per search.
PRICES = {
    "gpt-5.6-sol": {"in": "4", "cached": "0.4", "write": "5", "long": "10", "out": "20"},
    "gpt-4.1-mini": {"in": "0.4", "cached": "0.1", "out": "1.6"},
    "gpt-4.1-mini-2025-04-14": {"in": "0.4", "cached": "0.1", "out": "1.6"},
    "grok-4.5": {"in": "2", "cached": "0.3", "out": "6"},
    "gpt-6.1-sol": {"in": "2", "cached": "0.1", "write": "2.5", "long": "5", "out": "10", "search": "0.01"},
    "claude-sonnet-5-5": {"in": "2", "cached": "0.1", "write": "2.5", "long": "4", "out": "10", "search": "0.01"},
    "claude-opus-5-5": {"in": "4", "cached": "0.2", "out": "20"},
    "claude-haiku-5-5": {"in": "0.1", "cached": "0.01", "out": "0.5"},
    "gemini-2.5-flash": {"in": "0.3", "cached": "0.03", "out": "2.5", "audio_in": "1"},
    "gemini-3.8-flash": {"in": "0.75", "cached": "0.075", "out": "3.75", "search": "0.014"},
    "gpt-4o-mini-tts": {"in": "0.6", "audio_out": "12"},
    "tts-1-hd": {"characters": "30"},
    "gpt-4o-transcribe": {"in": "2.5", "audio_in": "6", "out": "10"},
    "gpt-4o-mini-transcribe": {"in": "1.25", "audio_in": "3", "out": "5"},
    "whisper-1": {"minute": "0.006"},
    "text-embedding-3-large": {"in": "0.13"},
    "text-embedding-3-small": {"in": "0.02"},
    "gpt-6-luna": {"in": "0.1", "out": "0.5"},
    "gpt-image-1.5": {"in": "5", "out": "10", "image_in": "8", "image_out": "32"},
}
# Which price a count is billed at; the last of them are parts of what comes in as text.
BILLED = {"text_in": "in", "audio_in": "audio_in", "image_in": "image_in", "text_out": "out", "audio_out": "audio_out",
          "image_out": "image_out", "characters_in": "characters", "cached_text_in": "cached", "cache_write_in": "write",
          "cache_write_long_in": "long"}
TIERS = {"priority": 2, "flex": Fraction(1, 2), "fast": 2}


def row(model, usage, tier=None, guess=False, free=()):
    usage = {kind: count for kind, count in usage.items() if count}
    fresh = dict(usage)
    for part in ("cached_text_in", "cache_write_in", "cache_write_long_in"):
        fresh["text_in"] = fresh.get("text_in", 0) - usage.get(part, 0)
    price = PRICES[model]
    total = sum(count * Fraction(price[BILLED[kind]]) * 1000 for kind, count in fresh.items()
                if kind in BILLED and kind not in free and count)
    total *= TIERS.get(tier, 1)
    total += usage.get("searches", 0) * Fraction(price.get("search", 0)) * 10**9
    total += Fraction(usage.get("duration_ms", 0), 60000) * Fraction(price.get("minute", 0)) * 10**9
    return {"model": model, "usage": {"requests": 1} | usage, "cost_nano": ceil(total), "estimated": guess, "known_price": True}


def events(exchange):
    """The JSON values of a body, whichever form it has; what is cut off is as if it were closed at once."""
    body = exchange.get("body", "")
    if "event-stream" not in exchange["headers"]["content-type"]:
        value = json.loads(body)
        return value if isinstance(value, list) else [value]
    data = [line[5:].strip() for line in body.splitlines() if line.startswith("data:")]
    return [closed(line) for line in data if line != "[DONE]"]


def closed(text):
    for tail in ("", '"}}]}'):
        try:
            return json.loads(text + tail)
        except ValueError:
            pass
    raise ValueError(text)


def tokens(text):
    return ceil(len(text.encode()) / 4)


def openai(usage):
    ins = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or usage.get("input_token_details") or {}
    outs = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    read, said = usage.get("prompt_tokens", usage.get("input_tokens", 0)), usage.get("completion_tokens", usage.get("output_tokens", 0))
    reasoning = outs.get("reasoning_tokens", 0)
    if read + said + reasoning == usage.get("total_tokens"):
        said += reasoning
    kept = ins.get("cache_write_tokens_details", {})
    audio, image = ins.get("audio_tokens", 0), ins.get("image_tokens", 0)
    return {"text_in": read - audio - image, "audio_in": audio, "image_in": image, "cached_text_in": ins.get("cached_tokens", 0),
            "cache_write_in": kept.get("ttl_30m_tokens", ins.get("cache_write_tokens", 0)),
            "cache_write_long_in": kept.get("ttl_12h_tokens", 0), "text_out": said, "reasoning_out": reasoning}


def chat(exchange, asked):
    model, usage, tier, said = asked.get("model"), None, None, ""
    for chunk in events(exchange):
        model, usage, tier = chunk.get("model") or model, chunk.get("usage") or usage, chunk.get("service_tier") or tier
        said += "".join(choice.get("delta", {}).get("content") or "" for choice in chunk.get("choices", []))
    if usage is None:
        usage = {"prompt_tokens": tokens("".join(part["content"] for part in asked["messages"])), "completion_tokens": tokens(said)}
    yield row(model, openai(usage), tier, guess=bool(exchange.get("cut")))


def responses(exchange, asked):
    said, last = "", None
    for event in events(exchange):
        said += event.get("delta", "")
        body = event.get("response", event)
        if body.get("status") == "completed":
            last = body
    if last:
        searches = last.get("tool_usage", {}).get("web_search", {}).get("num_requests", 0)
        yield row(last["model"], openai(last["usage"]) | {"searches": searches}, last["service_tier"])
        made = last.get("tool_usage", {}).get("image_gen", {})
        if made.get("output_tokens"):
            maker = next(tool["model"] for tool in last["tools"] if tool["type"] == "image_generation")
            ins, outs = made["input_tokens_details"], made["output_tokens_details"]
            pictures = row(maker, {"text_in": ins["text_tokens"], "image_in": ins["image_tokens"],
                                   "text_out": outs["text_tokens"], "image_out": outs["image_tokens"]})
            yield pictures | {"usage": pictures["usage"] | {"requests": 0}}
    elif exchange.get("cut"):
        yield row(asked["model"], {"text_in": tokens(asked["input"]), "text_out": tokens(said)}, guess=True)


def claude(usage):
    kept = usage.get("cache_creation") or {}
    written, read = usage.get("cache_creation_input_tokens", 0), usage.get("cache_read_input_tokens", 0)
    long = kept.get("ephemeral_1h_input_tokens", 0)
    return {"text_in": usage.get("input_tokens", 0) + written + read, "cached_text_in": read, "cache_write_in": written - long,
            "cache_write_long_in": long, "text_out": usage.get("output_tokens", 0),
            "reasoning_out": usage.get("output_tokens_details", {}).get("thinking_tokens", 0),
            "searches": usage.get("server_tool_use", {}).get("web_search_requests", 0)}


def anthropic(exchange, asked):
    usage, said, over = {}, "", True
    for event in events(exchange):
        usage |= event.get("message", event).get("usage", {})
        said += event.get("delta", {}).get("text", "")
        over = event["type"] in ("message", "message_stop")
    speed = usage.get("speed")
    if "iterations" in usage:
        own, others = Counter(), []
        for entry in usage["iterations"]:
            if entry.get("model", asked["model"]) == asked["model"]:
                own.update(claude(entry))
            else:
                others.append(row(entry["model"], claude(entry) | {"requests": 0}))
        others = [other | {"usage": other["usage"] | {"requests": 0}} for other in others]
        yield row(asked["model"], own, speed)
        yield from others
        return
    counts = claude(usage)
    if not over:
        counts["text_out"] = max(counts["text_out"], tokens(said))
    yield row(asked["model"], counts, speed, guess=not over)


def gemini(exchange, asked):
    usage, searches = {}, 0
    for piece in events(exchange):
        usage = piece["usageMetadata"]
        searches = len(piece["candidates"][0].get("groundingMetadata", {}).get("webSearchQueries", []))
    read, said, tools = usage["promptTokenCount"], usage.get("candidatesTokenCount", 0), usage.get("toolUsePromptTokenCount", 0)
    thoughts = usage.get("thoughtsTokenCount", 0)
    if read + said + tools != usage["totalTokenCount"]:
        said += thoughts
    audio = sum(part["tokenCount"] for part in usage.get("promptTokensDetails", []) if part["modality"] == "AUDIO")
    counts = {"text_in": read + tools - audio, "audio_in": audio, "cached_text_in": usage.get("cachedContentTokenCount", 0),
              "text_out": said, "reasoning_out": thoughts, "searches": searches}
    model = exchange["path"].split("/models/")[1].split(":")[0]
    yield row(model, counts, exchange["headers"].get("x-gemini-service-tier"), guess=bool(exchange.get("cut")))


def interactions(exchange, _):
    last = events(exchange)[-1]
    last = last.get("interaction", last)
    usage = last["usage"]
    thoughts = usage.get("total_thought_tokens", 0)
    yield row(last["model"], {
        "text_in": usage["total_input_tokens"] + usage.get("total_tool_use_tokens", 0), "cached_text_in": usage["total_cached_tokens"],
        "text_out": usage["total_output_tokens"] + thoughts, "reasoning_out": thoughts,
        "searches": sum(tool["count"] for tool in usage.get("grounding_tool_count", []))})


def speech(exchange, asked):
    if asked["model"].startswith("tts-1"):
        yield row(asked["model"], {"characters_in": len(asked["input"])})
    elif "body_bytes" in exchange:
        # 24,000 samples of two bytes a second, and a token for 50 ms.
        yield row(asked["model"], {"text_in": tokens(asked["input"]), "audio_out": ceil(exchange["body_bytes"] / 48 / 50)}, guess=True)
    else:
        usage = events(exchange)[-1]["usage"]
        yield row(asked["model"], {"text_in": usage["input_tokens"], "audio_out": usage["output_tokens"]})


def transcription(exchange, _):
    form = exchange["form"]
    if exchange["headers"]["content-type"].startswith("text/plain"):
        ms = (exchange["file_bytes"] - 44) // 32
        usage = {"duration_ms": ms}
        if form["model"] != "whisper-1":
            usage = {"text_in": tokens(form["prompt"]), "audio_in": ceil(ms / 100), "text_out": tokens(exchange["body"])}
        yield row(form["model"], usage, guess=True)
        return
    usage = events(exchange)[-1]["usage"]
    yield row(form["model"], {"duration_ms": usage["seconds"] * 1000} if usage["type"] == "duration" else openai(usage))


def embeddings(exchange, asked):
    usage = events(exchange)[0].get("usage")
    read = usage["prompt_tokens"] if usage else sum(len(each) for each in asked["input"])
    yield row(asked["model"], {"text_in": read}, guess=usage is None)


def decisions(exchange, asked):
    yield row(asked["model"], openai(events(exchange)[0]["usage"]), free=("text_out",))


def images(exchange, asked):
    usage = events(exchange)[-1]["usage"]
    ins = usage.get("input_tokens_details", {})
    outs = usage.get("output_tokens_details", {"image_tokens": usage["output_tokens"]})
    image = ins.get("image_tokens", 0)
    yield row(asked["model"], {"text_in": usage["input_tokens"] - image, "image_in": image,
                               "text_out": outs.get("text_tokens", 0), "image_out": outs["image_tokens"]})


READERS = {"chat/completions": chat, "/responses": responses, "responses/resp_3": responses, "/messages": anthropic,
           "generateContent": gemini, "streamGenerateContent": gemini, "/interactions": interactions, "int_9": interactions,
           "audio/speech": speech, "audio/transcriptions": transcription, "audio/translations": transcription,
           "/embeddings": embeddings, "/decisions": decisions, "images/generations": images}


def main():
    for transcript in sorted(Path(__file__).parent.glob("*.jsonl")):
        booked = []
        for exchange in map(json.loads, transcript.read_text().splitlines()):
            reader = next((read for tail, read in READERS.items() if exchange["path"].endswith(tail)), None)
            # What is free, and what was refused.
            if reader and exchange["status"] == 200:
                booked += reader(exchange, json.loads(exchange.get("asked", "{}")))
        total = sum(row["cost_nano"] for row in booked)
        text = json.dumps({"total_cost_nano": total, "booked": booked}, indent=1)
        transcript.with_suffix("").with_suffix(".expected.json").write_text(text + "\n")


main()
