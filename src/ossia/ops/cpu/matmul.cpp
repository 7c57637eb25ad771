// The inner loop of every projection: weights, widened, times activations.
//
// Version 1: a tile of 32 weight rows and up to 8 tokens; 8 running sums in registers, so that a
//   weight that was widened serves all tokens of the tile. One token takes 8 rows at a time, eight
//   tokens one row: a sum has the same order in all of them (W lanes, columns ascending, then the
//   lanes), which makes batches, chunks and single tokens agree bit for bit.
// Version 2: columns in runs of 4096/tokens, the sums parked between them: the activations of a
//   run stay in the first-level cache.
#include "matmul.h"

namespace ossia::OSSIA_ISA {
namespace {

constexpr std::size_t kBlock = 32;  // columns widened at once
constexpr std::size_t kRunFloats = 4096;

template <class Float>  // float or bf16
struct FloatRows {
  const Float* values;
  std::size_t stride;

  struct Row {
    const Float* values;
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
  const std::uint8_t *blocks, *scales;
  std::size_t blocks_per_row;

  struct Row {
    const std::uint8_t *blocks, *scales;
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
      return use(Mxfp4Rows{static_cast<const std::uint8_t*>(matrix.values), matrix.scales,
                           matrix.columns / kBlock});
  }
}

// sums[row + r][t] += weights[r] * x[t] over the blocks from `first` to before `last`.
template <std::size_t R, std::size_t T, class Rows>
void add_products(const Rows& rows, std::size_t row, std::size_t first, std::size_t last,
                  std::size_t place, Tile& tile) {
  Vec sum[R][T];
  typename Rows::Row weights[R];
  const float* x[T];
  for (std::size_t t = 0; t < T; ++t) x[t] = tile.x[t];
  for (std::size_t r = 0; r < R; ++r) {
    weights[r] = rows[row + r];
    for (std::size_t t = 0; t < T; ++t) sum[r][t] = tile.sums[place + r][t];
  }
  for (std::size_t block = first; block < last; ++block) {
    for (std::size_t r = 0; r < R; ++r) {
      Vec weight[kBlock / W];
      weights[r].widen(block, weight);
      for (std::size_t v = 0; v < kBlock / W; ++v) {
        for (std::size_t t = 0; t < T; ++t) {
          sum[r][t] = fma(load(x[t] + block * kBlock + v * W), weight[v], sum[r][t]);
        }
      }
    }
  }
  for (std::size_t r = 0; r < R; ++r) {
    for (std::size_t t = 0; t < T; ++t) tile.sums[place + r][t] = sum[r][t];
  }
}

// Rows at a time for T tokens: about eight running sums.
constexpr std::size_t rows_for(std::size_t tokens) {
  return tokens == 1 ? 8 : tokens == 2 ? 4 : tokens <= 4 ? 2 : 1;
}

template <std::size_t T, class Rows>
inline void add_tile(const Rows& rows, std::size_t row, std::size_t num_rows, std::size_t blocks,
                     Tile& tile) {
  constexpr std::size_t R = rows_for(T), kRun = kRunFloats / T / kBlock;
  for (std::size_t first = 0; first < blocks; first += kRun) {
    const std::size_t last = least(blocks, first + kRun);
    std::size_t r = 0;
    for (; r + R <= num_rows; r += R) add_products<R, T>(rows, row + r, first, last, r, tile);
    for (; r < num_rows; ++r) add_products<1, T>(rows, row + r, first, last, r, tile);
  }
}

template <class Rows>
void add_tile(std::size_t tokens, const Rows& rows, std::size_t row, std::size_t num_rows,
              std::size_t blocks, Tile& tile) {
  switch (tokens) {
    case 1:
      return add_tile<1>(rows, row, num_rows, blocks, tile);
    case 2:
      return add_tile<2>(rows, row, num_rows, blocks, tile);
    case 3:
      return add_tile<3>(rows, row, num_rows, blocks, tile);
    case 4:
      return add_tile<4>(rows, row, num_rows, blocks, tile);
    case 5:
      return add_tile<5>(rows, row, num_rows, blocks, tile);
    case 6:
      return add_tile<6>(rows, row, num_rows, blocks, tile);
    case 7:
      return add_tile<7>(rows, row, num_rows, blocks, tile);
    default:
      return add_tile<8>(rows, row, num_rows, blocks, tile);
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
