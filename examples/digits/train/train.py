#!/usr/bin/env python3
"""Trains the small vision transformer of this example and writes everything the example commits.

    python3 -m pip install torch==2.15.0 transformers==5.23.0 scikit-learn==1.9.1 \
        numpy==2.4.6 safetensors==0.8.0
    python3 examples/digits/train/train.py

The data are the 1797 handwritten digits bundled with scikit-learn (Alpaydin and Kaynak, "Optical
Recognition of Handwritten Digits", UCI, 1998): 8x8 pixels of 0 to 16. A stratified quarter of them
(450 images) is held out and never trained on, nor used to choose anything. A pixel enters the
network as value / 16, so 0 to 1; preprocessor_config.json says the same.

Seeded and single-threaded, on the CPU: the same versions on the same kind of machine write the same
bytes. It runs for about two minutes.

Written, all relative to examples/digits:
    model/config.json, model/model.safetensors   as transformers saves ViTForImageClassification
    model/preprocessor_config.json               how a pixel becomes a number
    data/heldout.safetensors                     images u8 [450, 8, 8], labels u8 [450]
    data/verify.safetensors                      pixel_values f32 [256, 1, 8, 8]: training images for
                                                 the build's accuracy check, as the model reads them
"""

import json
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from transformers import ViTConfig, ViTForImageClassification

SEED = 20
EPOCHS = 150
BATCH = 64
PEAK_LR = 2e-3
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.05
ROOT = pathlib.Path(__file__).resolve().parent.parent


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rotates up to 12 degrees, scales by up to 10 %, shifts up to one pixel."""
    n = len(images)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    angle = uniform(-12, 12) * torch.pi / 180
    scale = uniform(0.9, 1.1)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # One pixel is 2 / 8 in the coordinates of grid_sample.
    theta = torch.stack(
        [
            torch.stack([cos, -sin, uniform(-0.25, 0.25)], dim=1),
            torch.stack([sin, cos, uniform(-0.25, 0.25)], dim=1),
        ],
        dim=1,
    )
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, align_corners=False)


def accuracy(model: ViTForImageClassification, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return (model(pixel_values=images).logits.argmax(1) == labels).float().mean().item()


def main() -> None:
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)

    digits = load_digits()
    train_u8, heldout_u8, train_labels, heldout_labels = train_test_split(
        digits.images.astype(np.uint8),
        digits.target.astype(np.uint8),
        test_size=450,
        stratify=digits.target,
        random_state=SEED,
    )

    def pixels(images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(images.astype(np.float32) / 16.0)[:, None]

    train_x, train_y = pixels(train_u8), torch.from_numpy(train_labels.astype(np.int64))
    heldout_x, heldout_y = pixels(heldout_u8), torch.from_numpy(heldout_labels.astype(np.int64))

    names = [str(digit) for digit in range(10)]
    config = ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        hidden_act="gelu",
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    model = ViTForImageClassification(config)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )

    steps = EPOCHS * (len(train_x) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_LR, total_steps=steps)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    generator = torch.Generator().manual_seed(SEED)
    for epoch in range(EPOCHS):
        model.train()
        order = torch.randperm(len(train_x), generator=generator)
        total = 0.0
        for batch in order[: len(order) // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            loss = loss_of(
                model(pixel_values=augment(train_x[batch], generator)).logits, train_y[batch]
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.item()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3}  loss {total / (len(train_x) // BATCH):.4f}", flush=True)

    final = average.module
    print(f"training accuracy {accuracy(final, train_x, train_y):.4f}")
    print(f"held-out accuracy {accuracy(final, heldout_x, heldout_y):.4f}")

    (ROOT / "data").mkdir(exist_ok=True)
    final.save_pretrained(ROOT / "model")
    preprocessor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / 16,
        "do_normalize": False,
        "size": {"height": 8, "width": 8},
    }
    (ROOT / "model/preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")
    save_file({"images": heldout_u8, "labels": heldout_labels}, ROOT / "data/heldout.safetensors")
    save_file({"pixel_values": train_x[:256].numpy()}, ROOT / "data/verify.safetensors")


if __name__ == "__main__":
    main()
