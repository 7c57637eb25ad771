// Products of rounded activations with tiled weights: whole numbers inside a block of 32 columns,
// blocks added in ascending order, so every instruction set gives the same bits.
#pragma once
#include OSSIA_SIMD

namespace ossia::OSSIA_ISA {

constexpr std::size_t kGroup = 16;       // rows side by side in a tile
constexpr std::size_t kPassTokens = 32;  // tokens that one reading of a group serves
constexpr std::size_t kTileBlock = 32;   // columns of a tile
constexpr std::size_t kPackedTile = kGroup * kTileBlock / 2, kInt8Tile = kGroup * kTileBlock;
constexpr std::int32_t kPackedOffset = 12;  // the table holds 2 * value + 12: never negative
constexpr std::int32_t kInt8Offset = 128;

using GroupTotals = float[kPassTokens][kGroup];

// Tokens `first` to `first + tokens` of rounded activations that stand together as one pass.
struct Pass {
  std::int8_t* value;    // [J][tokens][32]
  float* scale;          // [J][tokens]
  std::int32_t* offset;  // [J][tokens]
  std::size_t tokens;

  Pass(const Quantised& all, std::size_t blocks, std::size_t first, std::size_t tokens)
      : value(all.value + first * blocks * kTileBlock),
        scale(all.scale + first * blocks),
        offset(all.offset + first * blocks),
        tokens(tokens) {}
};

// Rounds 32 numbers, block j of token t, for weights of that format.
void round_block(const float* x, Format weights, const Pass& pass, std::size_t j, std::size_t t);

// The same for a row; columns beyond the last are zeros.
void round_row(const float* x, std::size_t columns, Format weights, const Pass& pass,
               std::size_t t);

// Rounds tokens `mine` of rows of activations, in passes of kPassTokens from token 0 on.
void round_rows(const float* x, std::size_t columns, std::size_t T, Format weights,
                const Quantised& out, Range mine);

// total[t][r] = row r of the group . token t
void dot_group(const Matrix& weights, std::size_t group, const Pass& pass, GroupTotals& total);

// For each group of the range and each pass: finish(row, rows, first token, tokens, total).
template <class Finish>
inline void multiply_tiles(const Matrix& weights, Range groups, const Quantised& x, std::size_t T,
                           const Finish& finish) {
  alignas(64) GroupTotals total;
  for (std::size_t group = groups.first; group < groups.last; ++group) {
    const std::size_t row = group * kGroup, rows = least(kGroup, weights.rows - row);
    for (std::size_t token = 0; token < T; token += kPassTokens) {
      const Pass pass(x, weights.blocks(), token, least(kPassTokens, T - token));
      dot_group(weights, group, pass, total);
      finish(row, rows, token, pass.tokens, total);
    }
  }
}

}  // namespace ossia::OSSIA_ISA
