"""
A mask and a cover strip in Vulkan.

Two ways to bring a frame into a Vulkan program, each compared with the exact mask:

1. *Upload.* The mask's bytes go into a VK_FORMAT_R8_UNORM image as they are, and come back the same.
2. *Draw.* ``FrameGeometry.triangle_strip()`` is drawn with the plainest of pipelines into such an image. What comes out
   differs from the exact mask on its outline pixels and nowhere else.

::

    python examples/vulkan_upload.py [FILE] [--frame N] [--output OUT.png]

The picture shows the mask as read back and the strip as drawn; below, where they differ (red), and a part of that,
magnified.

Vulkan is reached through wgpu (``pip install wgpu``), the shortest way from Python; docs/vulkan.md tells what differs
in plain Vulkan.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from hosting import cannot_import
from PIL import Image

import alphastream_gpu
from alphastream_gpu import FrameGeometry

try:
    import wgpu
    from wgpu.backends.wgpu_native.extras import set_instance_extras
except ImportError as exc:
    cannot_import(exc, "wgpu")

Mask = npt.NDArray[np.uint8]
Size = tuple[int, int]

SAMPLE = Path(__file__).with_name("person_sbs.asvp")
NO_VULKAN = (
    "No Vulkan driver found. Debian and Ubuntu: apt-get install mesa-vulkan-drivers libvulkan1; "
    "Fedora: dnf install mesa-vulkan-drivers vulkan-loader"
)
SHADER = """
override width: f32;    // Specialization constants in Vulkan: a stream's native size never changes.
override height: f32;

@vertex fn place(@location(0) corner: vec2f) -> @builtin(position) vec4f {
    // + 0.5 puts pixel centres on the polygons' lattice. Row 0 of the image is the mask's top row: WebGPU's clip space
    // points up, so y is turned over. In plain Vulkan it points down, and 2.0 * at - 1.0 serves x and y.
    let at = (corner + 0.5) / vec2f(width, height);
    return vec4f(2.0 * at.x - 1.0, 1.0 - 2.0 * at.y, 0.0, 1.0);
}

@fragment fn paint() -> @location(0) vec4f {
    return vec4f(1.0);
}
"""


class VulkanUnavailableError(RuntimeError):
    """There is no Vulkan here; the message names the cure."""


def vulkan_device() -> wgpu.GPUDevice:
    """A device on Vulkan and on nothing else; raises VulkanUnavailableError."""
    with contextlib.suppress(RuntimeError):  # too late where the program has an instance already; checked below
        set_instance_extras(backends=("Vulkan",))
    try:
        adapter = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
    except RuntimeError as exc:
        raise VulkanUnavailableError(NO_VULKAN) from exc
    if adapter.info["backend_type"] != "Vulkan":
        raise VulkanUnavailableError(f"{NO_VULKAN} (wgpu chose {adapter.summary})")
    return adapter.request_device_sync()


def upload_mask(device: wgpu.GPUDevice, mask: Mask) -> wgpu.GPUTexture:
    """
    The mask as an image to sample from. Its bytes are the image's bytes; a shader reads 0 and 255 as 0.0 and 1.0.

    Row 0 of the array, the mask's top row, becomes row 0 of the image. Nothing is flipped: v = 0 is the top.
    """
    height, width = mask.shape
    texture = _r8_texture(device, (width, height), wgpu.TextureUsage.COPY_DST)
    # write_texture stages the bytes itself and takes rows of any length, unlike copies from a buffer.
    device.queue.write_texture({"texture": texture}, mask, {"bytes_per_row": width}, (width, height, 1))
    return texture


def read_back(device: wgpu.GPUDevice, texture: wgpu.GPUTexture) -> Mask:
    """An image's bytes as uint8 (height, width), top row first. Waits for the GPU."""
    width, height, _ = texture.size
    pitch = -(-width // 256) * 256  # in a buffer, WebGPU wants each row to begin at a multiple of 256 bytes
    buffer = device.create_buffer(size=pitch * height, usage=wgpu.BufferUsage.COPY_DST | wgpu.BufferUsage.MAP_READ)
    encoder = device.create_command_encoder()
    layout = {"buffer": buffer, "bytes_per_row": pitch, "rows_per_image": height}
    encoder.copy_texture_to_buffer({"texture": texture}, layout, texture.size)
    device.queue.submit([encoder.finish()])
    buffer.map_sync(wgpu.MapMode.READ)
    rows = np.frombuffer(buffer.read_mapped(), np.uint8).reshape(height, pitch)
    buffer.destroy()
    return np.ascontiguousarray(rows[:, :width])


def strip_pipeline(device: wgpu.GPUDevice, native_size: Size) -> wgpu.GPURenderPipeline:
    """The plainest pipeline: float32 x and y, one triangle strip, no culling, depth, stencil or blending."""
    module = device.create_shader_module(code=SHADER)
    corner = {"format": wgpu.VertexFormat.float32x2, "offset": 0, "shader_location": 0}
    return device.create_render_pipeline(
        layout="auto",
        vertex={
            "module": module,
            "constants": {"width": native_size[0], "height": native_size[1]},
            "buffers": [{"array_stride": 8, "attributes": [corner]}],
        },
        primitive={"topology": wgpu.PrimitiveTopology.triangle_strip},
        fragment={"module": module, "targets": [{"format": wgpu.TextureFormat.r8unorm}]},
    )


def draw_strip(
    device: wgpu.GPUDevice, pipeline: wgpu.GPURenderPipeline, strip: npt.NDArray[np.float32], size: Size
) -> wgpu.GPUTexture:
    """Draw a strip, float32 (n, 2) in native coordinates, into an image of any size. One draw, no index buffer."""
    texture = _r8_texture(device, size, wgpu.TextureUsage.RENDER_ATTACHMENT)
    encoder = device.create_command_encoder()
    target = {"view": texture.create_view(), "load_op": "clear", "store_op": "store", "clear_value": (0, 0, 0, 0)}
    render_pass = encoder.begin_render_pass(color_attachments=[target])
    if len(strip):  # a frame without area has none
        render_pass.set_pipeline(pipeline)
        render_pass.set_vertex_buffer(0, device.create_buffer_with_data(data=strip, usage=wgpu.BufferUsage.VERTEX))
        render_pass.draw(len(strip))
    render_pass.end()
    device.queue.submit([encoder.finish()])
    return texture


def _r8_texture(device: wgpu.GPUDevice, size: Size, usage: int) -> wgpu.GPUTexture:
    usage |= wgpu.TextureUsage.TEXTURE_BINDING | wgpu.TextureUsage.COPY_SRC
    return device.create_texture(size=(*size, 1), format=wgpu.TextureFormat.r8unorm, usage=usage)


def outline_pixels(geometry: FrameGeometry, native_size: Size) -> npt.NDArray[np.bool_]:
    """
    The mask's outline pixels: every segment's line, and the half-way crossings beside steep ones (docs/coverage.md).

    A channel of two points draws its line and nothing else. A crossing half-way between two pixels belongs to the even
    one; if the line took the other, then the line from its other end, where ties go the other way, takes it.
    """
    lines, reversed_steep = [], []
    for first, stop in pairwise(geometry.channel_offsets.tolist()):
        points = geometry.points[first:stop].astype(np.int64)
        segments = np.stack((points, np.roll(points, -1, axis=0)), axis=1)
        if len(points) == 2:
            lines.append(segments[:1])  # there and not back; nothing is crossed
        elif len(points) > 2:
            across, down = np.abs(segments[:, 1] - segments[:, 0]).T
            lines.append(segments)
            reversed_steep.append(segments[down > across, ::-1])
    outline = _mask_of_lines(lines, native_size)
    outline[:, ::2] |= _mask_of_lines(reversed_steep, native_size)[:, ::2]
    return outline


def _mask_of_lines(segments: list[npt.NDArray[np.int64]], native_size: Size) -> npt.NDArray[np.bool_]:
    points = np.concatenate([np.empty((0, 2, 2), np.int64), *segments]).reshape(-1, 2)
    lines = FrameGeometry(points, np.arange(0, len(points) + 1, 2))  # each segment a channel of its own
    return alphastream_gpu.rasterize(lines, native_size=native_size) == 255


def picture(mask: Mask, drawn: Mask) -> Image.Image:
    """Mask and strip; below, their differences and the part with the most corners, magnified eight times."""
    grey = np.where(mask, 130, 40).astype(np.uint8)
    differences = np.stack((grey, grey, grey), axis=2)
    differences[mask != drawn] = (255, 40, 40)
    height, width = mask.shape
    rows, columns = height // 8, width // 8
    # A corner is where four pixels have odd parity; straight edges, however long, are dull to look at.
    corners = (mask[1:, 1:] ^ mask[1:, :-1] ^ mask[:-1, 1:] ^ mask[:-1, :-1]) == 255
    places = [(y, x) for y in range(0, height - rows, rows // 4) for x in range(0, width - columns, columns // 4)]
    parts = [np.s_[y : y + rows, x : x + columns] for y, x in places]
    detail = differences[max(parts, key=lambda part: corners[part].sum())].repeat(8, axis=0).repeat(8, axis=1)
    gap = 32
    sheet = Image.new("RGB", (2 * width + 3 * gap, 2 * height + 3 * gap), (22, 28, 38))
    for place, tile in enumerate((mask, drawn, differences, detail)):
        at = (gap + place % 2 * (width + gap), gap + place // 2 * (height + gap))
        sheet.paste(Image.fromarray(tile), at)
    return sheet


def main(argv: Sequence[str]) -> int:
    """Show both ways on one frame. Returns 1 if a comparison fails, 3 if the frame or Vulkan cannot be had."""
    parser = argparse.ArgumentParser(description="A mask and a cover strip in Vulkan, compared with the exact mask.")
    parser.add_argument("file", nargs="?", default=str(SAMPLE), help="ASVP file or URL (default: the sample)")
    parser.add_argument("--frame", type=int, default=60, help="frame index (default: 60)")
    parser.add_argument("--output", type=Path, default=Path("build/vulkan.png"), help="default: build/vulkan.png")
    options = parser.parse_args(argv)
    try:
        with alphastream_gpu.open(options.file) as stream:
            geometry, size = stream.read_frame(options.frame), stream.metadata.native_size
        device = vulkan_device()
    except (alphastream_gpu.AlphaStreamError, VulkanUnavailableError) as exc:
        print(exc, file=sys.stderr)
        return 3
    print(f"device: {device.adapter.info['device']}, on Vulkan")

    mask = alphastream_gpu.rasterize(geometry, native_size=size)
    uploaded = read_back(device, upload_mask(device, mask))
    is_same = np.array_equal(uploaded, mask)
    print(f"mask: {mask.nbytes:,} bytes into VK_FORMAT_R8_UNORM and back, {'equal' if is_same else 'DIFFERENT'}")

    strip = geometry.triangle_strip()
    drawn = read_back(device, draw_strip(device, strip_pipeline(device, size), strip, size))
    differs = drawn != mask
    on_outline = differs & outline_pixels(geometry, size)
    elsewhere = int(differs.sum() - on_outline.sum())
    print(f"strip: {strip.nbytes:,} bytes, {len(strip):,} vertices in one draw")
    print(f"strip and mask differ in {int(on_outline.sum()):,} outline pixels and in {elsewhere:,} others")

    options.output.parent.mkdir(parents=True, exist_ok=True)
    picture(uploaded, drawn).save(options.output)
    print(f"picture: {options.output}")
    return 0 if is_same and not elsewhere else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
