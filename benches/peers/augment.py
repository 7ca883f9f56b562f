"""Pillow's and torchvision's side of image preparation and augmentation.

    python benches/peers/augment.py reference > benches/peers/augment.json
    python benches/peers/augment.py time FOLDER [SIDE]

The first prints what both libraries make of small images, for tests: pixels are base64, planar for
torchvision (`[channels, height, width]`), interleaved for Pillow. The second times a recipe on one
core, on the images below FOLDER brought to SIDE by SIDE pixels, as one line of JSON; the example
`augment` of `tesla-data` prints the same line for TESLA. Needs torch, torchvision and Pillow.
"""

import base64
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image


def text(data):
    return base64.b64encode(bytes(data)).decode()


def picture(height, width, seed):
    """Slopes, an edge, and some noise: `[height, width, 3]`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 255 / max(width - 1, 1), y * 255 / max(height - 1, 1), (x * y * 7) % 256], axis=2)
    rgb[(x > width // 2) & (y < height // 2)] = [230, 40, 90]
    return np.clip(rgb + rng.normal(0, 12, rgb.shape), 0, 255).astype(np.uint8)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def files():
    """Image files of every kind, and what Pillow reads in them."""
    from PIL import ImageOps

    rgb = Image.fromarray(picture(9, 12, 1))
    smooth = Image.fromarray(picture(4, 4, 2)).resize((24, 8), Image.Resampling.BICUBIC)
    alpha = Image.fromarray(np.linspace(0, 255, 108).astype(np.uint8).reshape(9, 12))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey_alpha = Image.merge("LA", [rgb.convert("L"), alpha])
    deep = Image.fromarray((np.arange(108, dtype=np.uint32) * 606).astype(np.uint16).reshape(9, 12))
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=17)
    cases = {
        "rgb.png": (saved(rgb, "png"), 0),
        "grey.png": (saved(rgb.convert("L"), "png"), 0),
        "one_bit.png": (saved(rgb.convert("1"), "png"), 0),
        "rgba.png": (saved(rgba, "png"), 0),
        "grey_alpha.png": (saved(grey_alpha, "png"), 0),
        "palette.png": (saved(palette, "png"), 0),
        "palette_transparent.png": (saved(palette, "png", transparency=3), 0),
        "sixteen_bit.png": (saved(deep, "png"), 0),
        "palette.gif": (saved(palette, "gif"), 0),
        "rgb.bmp": (saved(rgb, "bmp"), 0),
        "rgb.tiff": (saved(rgb, "tiff"), 0),
        "cmyk.tiff": (saved(rgb.convert("CMYK"), "tiff"), 1),
        "lossless.webp": (saved(rgb, "webp", lossless=True), 0),
        # Two decoders of JPEG may differ by a few levels.
        "rgb.jpg": (saved(smooth, "jpeg", quality=95, subsampling=0), 3),
        "grey.jpg": (saved(smooth.convert("L"), "jpeg", quality=95), 3),
        "cmyk.jpg": (saved(smooth.convert("CMYK"), "jpeg", quality=95), 3),
    }
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        cases[f"turned_{turn}.jpg"] = (saved(smooth, "jpeg", quality=95, subsampling=0, exif=exif), 3)
    out = []
    for name, (data, within) in cases.items():
        image = Image.open(io.BytesIO(data))
        seen = ImageOps.exif_transpose(image)
        # Pillow cuts 16 bits off at 255 where others keep the high byte.
        if seen.mode.startswith("I"):
            seen = Image.fromarray((np.asarray(seen) >> 8).astype(np.uint8))
        out.append(
            {
                "name": name,
                "file": text(data),
                "within": within,
                "size": [seen.height, seen.width],
                "rgb": text(np.asarray(seen.convert("RGB")).tobytes()),
                "grey": text(np.asarray(seen.convert("L")).tobytes()),
            }
        )
    return out


def sizes():
    """One image in other sizes, by Pillow's bilinear filter, which antialiases."""
    rgb = Image.fromarray(picture(19, 26, 3))
    cases = [(8, 8), (19, 16), (11, 26), (30, 35), (1, 1), (18, 25), (64, 7)]
    return {
        "height": rgb.height,
        "width": rgb.width,
        "pixels": text(rgb.tobytes()),
        "cases": [
            {"size": [h, w], "pixels": text(rgb.resize((w, h), Image.Resampling.BILINEAR).tobytes())} for h, w in cases
        ],
    }


def operations():
    """Torchvision's functions on one image, with given strengths."""
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    image = torch.from_numpy(picture(17, 19, 4)).permute(2, 0, 1).contiguous()
    smooth = {"interpolation": InterpolationMode.BILINEAR}
    cases = [
        ("brightness", [0.6], F.adjust_brightness(image, 0.6)),
        ("brightness", [1.4], F.adjust_brightness(image, 1.4)),
        ("contrast", [0.6], F.adjust_contrast(image, 0.6)),
        ("contrast", [1.7], F.adjust_contrast(image, 1.7)),
        ("saturation", [0.3], F.adjust_saturation(image, 0.3)),
        ("saturation", [1.6], F.adjust_saturation(image, 1.6)),
        ("hue", [-0.3], F.adjust_hue(image, -0.3)),
        ("hue", [0.1], F.adjust_hue(image, 0.1)),
        ("hue", [0.5], F.adjust_hue(image, 0.5)),
        ("sharpness", [0.2], F.adjust_sharpness(image, 0.2)),
        ("sharpness", [1.8], F.adjust_sharpness(image, 1.8)),
        ("posterize", [3], F.posterize(image, 3)),
        ("solarize", [100], F.solarize(image, 100)),
        ("autocontrast", [], F.autocontrast(image // 2 + 20)),
        ("equalize", [], F.equalize(image)),
        ("horizontal_flip", [], F.horizontal_flip(image)),
        ("vertical_flip", [], F.vertical_flip(image)),
        # Degrees, top, left, height, width, sigma.
        ("rotate", [25.0], F.rotate(image, 25.0, **smooth)),
        ("rotate", [90.0], F.rotate(image, 90.0, **smooth)),
        ("resized_crop", [3, 2, 11, 17], F.resized_crop(image, 3, 2, 11, 17, [17, 19])),
        ("resized_crop", [0, 5, 17, 6], F.resized_crop(image, 0, 5, 17, 6, [17, 19])),
        ("affine", [20.0, 2, -1, 0.9, 10.0], F.affine(image, 20.0, [2, -1], 0.9, [10.0, 0.0], **smooth)),
        ("affine", [-50.0, 0, 3, 1.6, -30.0], F.affine(image, -50.0, [0, 3], 1.6, [-30.0, 0.0], **smooth)),
        ("blur", [0.4], F.gaussian_blur(image, [5, 5], [0.4, 0.4])),
        ("blur", [1.5], F.gaussian_blur(image, [11, 11], [1.5, 1.5])),
    ]
    return {
        "height": image.shape[1],
        "width": image.shape[2],
        "pixels": text(image.numpy().tobytes()),
        "cases": [{"name": n, "with": w, "pixels": text(out.contiguous().numpy().tobytes())} for n, w, out in cases],
    }


def reference():
    import torch
    import torchvision

    versions = {"pillow": PIL.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__}
    report = {"versions": versions, "files": files(), "sizes": sizes(), "operations": operations()}
    print(json.dumps(report, indent=0))


def recipes(v2, torch):
    mean, std = [0.45, 0.42, 0.3], [0.29, 0.27, 0.28]
    normalised = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    jitter = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)

    def recipe(side, *steps):
        return v2.Compose([*steps, *normalised])

    return {
        "none": lambda s: recipe(s),
        "crop_flip": lambda s: recipe(s, v2.RandomResizedCrop(s, antialias=True), v2.RandomHorizontalFlip()),
        "crop_flip_jitter": lambda s: recipe(
            s, v2.RandomResizedCrop(s, antialias=True), v2.RandomHorizontalFlip(), jitter
        ),
        "pad_crop_flip": lambda s: recipe(s, v2.RandomCrop(s, padding=4), v2.RandomHorizontalFlip()),
        "rotate": lambda s: recipe(s, v2.RandomRotation(15, interpolation=v2.InterpolationMode.BILINEAR)),
        "randaugment": lambda s: recipe(s, v2.RandAugment(interpolation=v2.InterpolationMode.BILINEAR)),
        "blur": lambda s: recipe(s, v2.GaussianBlur(13, (0.1, 2.0))),
        "noise": lambda s: recipe(s, v2.GaussianNoise(sigma=0.02)),
    }


def timed(folder, side):
    """Images per second of one core, by the time the processor spent."""
    import torch
    import torchvision
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    images = []
    for path in files:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        images.append(torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).contiguous())
    report = {"side": side, "images": len(images), "torchvision": torchvision.__version__}
    for name, make in recipes(v2, torch).items():
        recipe = make(side)
        for image in images[:20]:
            recipe(image)
        epochs, start = 0, time.process_time()
        while epochs == 0 or time.process_time() - start < 1.5:
            for first in range(0, len(images), 64):
                torch.stack([recipe(image) for image in images[first : first + 64]])
            epochs += 1
        report[name] = round(epochs * len(images) / (time.process_time() - start))
    print(json.dumps(report))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["reference"]:
            reference()
        case ["time", folder, *side]:
            timed(folder, int(side[0]) if side else 128)
        case _:
            sys.exit(__doc__)
