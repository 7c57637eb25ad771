// The inner loop of every projection: weights, widened, times activations.
//
// A sum has one order only: W lanes, columns ascending, then the lanes. All ways below keep it, so
// batches, chunks and single tokens agree bit for bit.
// Version 1: each weight is widened in registers and serves up to 8 tokens. For one or two tokens
//   still the way: four rows at a time, so that the activations are loaded once for them.
// Version 2: columns in runs, the sums parked between them: a run of activations stays in the
//   first-level cache.
// Version 3: from three tokens on, three rows of a run are widened into the cache once, then
//   multiplied three rows by four tokens: 12 sums in registers hide the latency of the additions
//   (8 tokens, one Zen 3 core, in cache: 26 -> 33 GMAC/s of 46 possible).
// Version 4: fetches ahead, 8 KB in packed rows, by three rows in runs (from memory: one token
//   5.9 -> 7.8 GB/s packed; eight tokens bfloat16 18 -> 26 GMAC/s).
#include "matmul.h"

namespace ossia::OSSIA_ISA {
namespace {

constexpr std::size_t kBlock = 32;  // columns widened at once
constexpr std::size_t kRun = 512;   // columns of which the activations of a tile stay cached
constexpr std::size_t kWideRows = 3, kWideTokens = 4;

template <class Float>  // float or bf16
struct FloatRows {
  static constexpr std::size_t kAhead = 0;  // long rows: the processor looks ahead itself
  const Float* values;
  std::size_t stride;

  struct Row {
    const Float* values;
    void fetch(std::size_t block) const { __builtin_prefetch(values + block * kBlock); }
    void widen(std::size_t block, Vec* out) const {
      for (std::size_t v = 0; v < kBlock / W; ++v) out[v] = load(values + block * kBlock + v * W);
    }
  };
  Row operator[](std::size_t row) const { return {values + row * stride}; }
  // The columns beyond the last whole block.
  void copy_tail(std::size_t row, std::size_t columns, float* out) const {
    for (std::size_t c = columns / kBlock * kBlock; c < columns; ++c) {
      *out++ = OSSIA_ISA::widen(values[row * stride + c]);
    }
  }
};

struct Mxfp4Rows {
  static constexpr std::size_t kAhead = 512;  // blocks, 8 KB: short rows lie close together
  const std::uint8_t *blocks, *scales;
  std::size_t blocks_per_row;

  struct Row {
    const std::uint8_t *blocks, *scales;
    void fetch(std::size_t block) const { __builtin_prefetch(blocks + block * kBlock / 2); }
    void widen(std::size_t block, Vec* out) const {
      widen_block(blocks + block * kBlock / 2, scales[block], out);
    }
  };
  Row operator[](std::size_t row) const {
    const std::size_t first = row * blocks_per_row;
    return {blocks + first * kBlock / 2, scales + first};
  }
  void copy_tail(std::size_t, std::size_t, float*) const {}  // columns are whole blocks
};

// Calls use(rows) with the type that fits the format.
template <class Use>
inline void with_rows(const Matrix& matrix, const Use& use) {
  switch (matrix.format) {
    case Format::f32:
      return use(FloatRows<float>{static_cast<const float*>(matrix.values), matrix.columns});
    case Format::bf16:
      return use(FloatRows<bf16>{static_cast<const bf16*>(matrix.values), matrix.columns});
    case Format::mxfp4:
      return use(Mxfp4Rows{static_cast<const std::uint8_t*>(matrix.values),
                           static_cast<const std::uint8_t*>(matrix.scales),
                           matrix.columns / kBlock});
    case Format::tiled_mxfp4:
    case Format::tiled_int8:
      return;  // see tiles.h
  }
}

// sums[r][t] += weights[row + r] * x[t] over the blocks from `first` to before `last`.
template <std::size_t R, std::size_t T, class Rows>
inline void add_direct(const Rows& rows, std::size_t row, std::size_t first, std::size_t last,
                       const float* const* x, Sums* sums) {
  Vec sum[R][T];
  typename Rows::Row weights[R];
  for (std::size_t r = 0; r < R; ++r) {
    weights[r] = rows[row + r];
    for (std::size_t t = 0; t < T; ++t) sum[r][t] = sums[r][t];
  }
  for (std::size_t block = first; block < last; ++block) {
    for (std::size_t r = 0; r < R; ++r) {
      Vec weight[kBlock / W];
      weights[r].widen(block, weight);
      if (Rows::kAhead) weights[r].fetch(block + Rows::kAhead);
      for (std::size_t v = 0; v < kBlock / W; ++v) {
        for (std::size_t t = 0; t < T; ++t) {
          sum[r][t] = fma(load(x[t] + block * kBlock + v * W), weight[v], sum[r][t]);
        }
      }
    }
  }
  for (std::size_t r = 0; r < R; ++r) {
    for (std::size_t t = 0; t < T; ++t) sums[r][t] = sum[r][t];
  }
}

template <std::size_t T, class Rows>
inline void add_rows(const Rows& rows, std::size_t row, std::size_t num_rows, std::size_t first,
                     std::size_t last, Tile& tile) {
  std::size_t r = 0;
  for (; r + 4 <= num_rows; r += 4) {
    add_direct<4, T>(rows, row + r, first, last, tile.x, tile.sums + r);
  }
  for (; r < num_rows; ++r) {
    add_direct<1, T>(rows, row + r, first, last, tile.x, tile.sums + r);
  }
}

// The same with weights that are floats already: `wide` holds R rows of kRun columns, the first of
// them column `first` of the activations.
template <std::size_t R, std::size_t T>
void add_wide(const float* wide, std::size_t first, std::size_t columns, const float* const* x,
              Sums* sums, std::size_t token) {
  Vec sum[R][T];
  for (std::size_t r = 0; r < R; ++r) {
    for (std::size_t t = 0; t < T; ++t) sum[r][t] = sums[r][token + t];
  }
  const float* from[T];
  for (std::size_t t = 0; t < T; ++t) from[t] = x[token + t] + first;
  for (std::size_t c = 0; c < columns; c += W) {
    Vec weight[R];
    for (std::size_t r = 0; r < R; ++r) weight[r] = load(wide + r * kRun + c);
    for (std::size_t t = 0; t < T; ++t) {
      const Vec activation = load(from[t] + c);
      for (std::size_t r = 0; r < R; ++r) sum[r][t] = fma(activation, weight[r], sum[r][t]);
    }
  }
  for (std::size_t r = 0; r < R; ++r) {
    for (std::size_t t = 0; t < T; ++t) sums[r][token + t] = sum[r][t];
  }
}

using AddWide = void (*)(const float*, std::size_t, std::size_t, const float* const*, Sums*,
                         std::size_t);
constexpr AddWide kAddWide[kWideRows][kWideTokens] = {
    {add_wide<1, 1>, add_wide<1, 2>, add_wide<1, 3>, add_wide<1, 4>},
    {add_wide<2, 1>, add_wide<2, 2>, add_wide<2, 3>, add_wide<2, 4>},
    {add_wide<3, 1>, add_wide<3, 2>, add_wide<3, 3>, add_wide<3, 4>},
};

template <class Rows>
inline void add_widened(std::size_t tokens, const Rows& rows, std::size_t row, std::size_t num_rows,
                        std::size_t first, std::size_t last, Tile& tile) {
  alignas(64) float wide[kWideRows * kRun];
  for (std::size_t r = 0; r < num_rows; r += kWideRows) {
    const std::size_t few = least(kWideRows, num_rows - r);
    for (std::size_t i = 0; i < few; ++i) {
      const typename Rows::Row weights = rows[row + r + i], next = rows[row + r + i + kWideRows];
      float* to = wide + i * kRun;
      for (std::size_t block = first; block < last; ++block, to += kBlock) {
        Vec weight[kBlock / W];
        weights.widen(block, weight);
        next.fetch(block);  // runs of far-apart rows: no processor foresees that
        for (std::size_t v = 0; v < kBlock / W; ++v) store(to + v * W, weight[v]);
      }
    }
    for (std::size_t token = 0; token < tokens; token += kWideTokens) {
      kAddWide[few - 1][least(kWideTokens, tokens - token) - 1](
          wide, first * kBlock, (last - first) * kBlock, tile.x, tile.sums + r, token);
    }
  }
}

template <class Rows>
inline void add_tile(std::size_t tokens, const Rows& rows, std::size_t row, std::size_t num_rows,
                     std::size_t blocks, Tile& tile) {
  if (tokens == 1) return add_rows<1>(rows, row, num_rows, 0, blocks, tile);
  if (tokens == 2) return add_rows<2>(rows, row, num_rows, 0, blocks, tile);
  for (std::size_t first = 0; first < blocks; first += kRun / kBlock) {
    add_widened(tokens, rows, row, num_rows, first, least(blocks, first + kRun / kBlock), tile);
  }
}

// The last columns, when they are no whole block: as one more block, filled up with zeros.
template <class Rows>
inline void add_tail(std::size_t tokens, const Rows& rows, std::size_t row, std::size_t num_rows,
                     std::size_t columns, Tile& tile) {
  float weights[kTileRows][kBlock] = {}, x[kTileTokens][kBlock] = {};
  const std::size_t whole = columns / kBlock * kBlock;
  for (std::size_t r = 0; r < num_rows; ++r) rows.copy_tail(row + r, columns, weights[r]);
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t c = whole; c < columns; ++c) x[t][c - whole] = tile.x[t][c];
    tile.x[t] = x[t];
  }
  add_tile(tokens, FloatRows<float>{weights[0], kBlock}, 0, num_rows, 1, tile);
}

}  // namespace

void add_up(const Matrix& weights, std::size_t row, std::size_t num_rows, std::size_t tokens,
            Tile& tile) {
  with_rows(weights, [&](const auto& rows) {
    for (std::size_t r = 0; r < num_rows; ++r) {
      for (std::size_t t = 0; t < tokens; ++t) tile.sums[r][t] = set1(0.0f);
    }
    add_tile(tokens, rows, row, num_rows, weights.columns / kBlock, tile);
    if (weights.columns % kBlock) add_tail(tokens, rows, row, num_rows, weights.columns, tile);
    for (std::size_t r = 0; r < num_rows; ++r) {
      for (std::size_t t = 0; t < tokens; ++t) tile.total[t][r] = sum(tile.sums[r][t]);
    }
  });
}

}  // namespace ossia::OSSIA_ISA
