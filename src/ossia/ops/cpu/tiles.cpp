// Rounding of activations; the inner loops stand in isa/*_tiles.h.
#include "tiles.h"

#include OSSIA_TILES

namespace ossia::OSSIA_ISA {

void round_block(const float* x, Format weights, const Pass& pass, std::size_t j, std::size_t t) {
  const bool is_packed = weights == Format::tiled_mxfp4;
  const std::size_t block = j * pass.tokens + t;
  const float largest = largest_of_block(x);
  const std::int32_t sum =
      round_to_int8(x, largest > 1e-30f ? 127 / largest : 0, pass.value + block * kTileBlock);
  // one value that is not finite makes the whole block no number: nothing is hidden
  pass.scale[block] = largest / 127 * (is_packed ? 0.5f : 1.0f) + largest * 0;
  pass.offset[block] = -(is_packed ? kPackedOffset : kInt8Offset) * sum;
}

void round_row(const float* x, std::size_t columns, Format weights, const Pass& pass,
               std::size_t t) {
  const std::size_t whole = columns / kTileBlock;
  for (std::size_t j = 0; j < whole; ++j) round_block(x + j * kTileBlock, weights, pass, j, t);
  if (whole * kTileBlock == columns) return;
  float last[kTileBlock] = {};
  for (std::size_t c = whole * kTileBlock; c < columns; ++c) last[c - whole * kTileBlock] = x[c];
  round_block(last, weights, pass, whole, t);
}

void round_rows(const float* x, std::size_t columns, std::size_t T, Format weights,
                const Quantised& out, Range mine) {
  const std::size_t blocks = (columns + kTileBlock - 1) / kTileBlock;
  for (std::size_t t = mine.first; t < mine.last; ++t) {
    const std::size_t first = t / kPassTokens * kPassTokens;
    const Pass pass(out, blocks, first, least(kPassTokens, T - first));
    round_row(x + t * columns, columns, weights, pass, t - first);
  }
}

void dot_group(const Matrix& weights, std::size_t group, const Pass& pass, GroupTotals& total) {
  const std::size_t blocks = weights.blocks(), first = group * blocks;
  const auto* values = static_cast<const std::uint8_t*>(weights.values);
  if (weights.format == Format::tiled_mxfp4) {
    dot_packed(values + first * kPackedTile,
               static_cast<const std::uint8_t*>(weights.scales) + first * kGroup, blocks, pass,
               total);
  } else {
    dot_int8(reinterpret_cast<const std::int8_t*>(values) + first * kInt8Tile,
             static_cast<const std::uint16_t*>(weights.scales) + first * kGroup, blocks, pass,
             total);
  }
}

}  // namespace ossia::OSSIA_ISA
