// Products of rounded activations with tiled weights: whole numbers inside a block of 32 columns,
// blocks added in ascending order, so every instruction set gives the same bits.
#pragma once
#include OSSIA_SIMD

namespace ossia::OSSIA_ISA {

constexpr std::size_t kGroup = 16;          // rows side by side in a tile
constexpr std::size_t kPassTokens = 32;     // tokens that one reading of a group serves
constexpr std::size_t kTileBlock = 32;      // columns of a tile
constexpr std::size_t kGroupsTogether = 4;  // of them, with a pass, the second-level cache holds
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

constexpr std::size_t kFreeTokens = 8;  // from so many on, arithmetic takes longer than memory

// Threads of unequal speed share the work of many tokens as it comes; that of few lies best in one
// stretch of memory for each.
inline bool shares_freely(std::size_t tokens, const Team& team) {
  return team.pool && tokens >= kFreeTokens;
}

// Visits 0 to n - 1, each on one thread.
template <class Visit>
inline void each_unit(std::size_t n, std::size_t tokens, const Team& team, const Visit& visit) {
  if (shares_freely(tokens, team)) {
    for (std::size_t i = team.take(); i < n; i = team.take()) visit(i);
  } else {
    const Range mine = share(n, 1, team);
    for (std::size_t i = mine.first; i < mine.last; ++i) visit(i);
  }
}

// For each group of the weights and each pass: finish(row, rows, first token, tokens, total). To be
// called between meetings, with nothing else that takes pieces of work.
template <class Finish>
inline void multiply_tiles(const Matrix& weights, const Quantised& x, std::size_t T,
                           const Team& team, const Finish& finish) {
  alignas(64) GroupTotals total;
  const std::size_t units = (weights.groups + kGroupsTogether - 1) / kGroupsTogether;
  each_unit(units, T, team, [&](std::size_t unit) {
    const std::size_t first = unit * kGroupsTogether;
    const std::size_t last = least(weights.groups, first + kGroupsTogether);
    for (std::size_t token = 0; token < T; token += kPassTokens) {
      const Pass pass(x, weights.blocks(), token, least(kPassTokens, T - token));
      for (std::size_t group = first; group < last; ++group) {
        const std::size_t row = group * kGroup;
        dot_group(weights, group, pass, total);
        finish(row, least(kGroup, weights.rows - row), token, pass.tokens, total);
      }
    }
  });
}

}  // namespace ossia::OSSIA_ISA
