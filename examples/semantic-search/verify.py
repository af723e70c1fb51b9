#!/usr/bin/env python3
"""Writes verify.safetensors: the tokenized sentences on which `cargo build` checks the int8 model.

    python3 -m pip install tokenizers==0.23.3 numpy==2.4.6 safetensors==0.8.0
    examples/semantic-search/fetch.sh && python3 examples/semantic-search/verify.py

Written: input_ids, attention_mask, token_type_ids, i64 [16, longest], padded with zeros.
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
SENTENCES = [
    "Where can I park near the station?",
    "The recipe calls for two eggs and a cup of flour.",
    "He forgot his umbrella and came home soaked.",
    "Quarterly revenue rose by four percent, mostly from new customers abroad.",
    "Turn left at the lighthouse and follow the path along the cliff.",
    "The patient reported mild dizziness and a headache since Monday.",
    "Memory leaks are hard to find without the right tools.",
    "Goal!",
    "My grandmother's garden smells of lavender, thyme and freshly cut grass in the early summer.",
    "The telescope's mirror was polished to within a few nanometres.",
    "Please restart the router and wait until the green light stops blinking.",
    "Penguins huddle together to keep warm during the polar night.",
    "The committee postponed its decision on the new bridge until after the election.",
    "What is the capital of Mongolia?",
    "She tuned the guitar a half step down for the last song.",
    "Interest rates, exchange rates and oil prices all moved against the airline this year, so that "
    "its profit fell to the lowest level since it was founded by two brothers with one small plane.",
]


def main() -> None:
    tokenizer = Tokenizer.from_file(str(HERE / "models/all-MiniLM-L6-v2/tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(SENTENCES)
    save_file(
        {
            "input_ids": np.array([e.ids for e in encoded], dtype=np.int64),
            "attention_mask": np.array([e.attention_mask for e in encoded], dtype=np.int64),
            "token_type_ids": np.array([e.type_ids for e in encoded], dtype=np.int64),
        },
        HERE / "verify.safetensors",
    )


if __name__ == "__main__":
    main()
