// Products of activations with stored weights, tile by tile; and what every projection needs
// beside.
#pragma once
#include OSSIA_SIMD

namespace ossia::OSSIA_ISA {

constexpr std::size_t kTileRows = 32;
constexpr std::size_t kTileTokens = 8;

using Sums = Vec[kTileTokens];

// What a tile is added up in: `sums` lane by lane, `total` at the end.
struct Tile {
  const float* x[kTileTokens];  // the tokens' activations
  Sums sums[kTileRows];
  float total[kTileTokens][kTileRows];
};

// tile.total[t][r] = weights[row + r] . tile.x[t], each in the same order whatever the company.
void add_up(const Matrix& weights, std::size_t row, std::size_t num_rows, std::size_t tokens,
            Tile& tile);

// For each tile of range x tokens: finish(first row, rows, first token, tokens, total[token][row]).
// x(t) is where the activations of token t begin.
template <class X, class Finish>
inline void multiply(const Matrix& weights, Range range, std::size_t T, const X& x,
                     const Finish& finish) {
  alignas(64) Tile tile;
  for (std::size_t row = range.first; row < range.last; row += kTileRows) {
    const std::size_t num_rows = least(kTileRows, range.last - row);
    for (std::size_t token = 0; token < T; token += kTileTokens) {
      const std::size_t tokens = least(kTileTokens, T - token);
      for (std::size_t t = 0; t < tokens; ++t) tile.x[t] = x(token + t);
      add_up(weights, row, num_rows, tokens, tile);
      finish(row, num_rows, token, tokens, tile.total);
    }
  }
}

// A row of a matrix that serves as a vector, widened where it is used.
inline float at(const Matrix& matrix, std::size_t row, std::size_t column) {
  const std::size_t place = row * matrix.columns + column;
  return matrix.format == Format::bf16 ? widen(static_cast<const bf16*>(matrix.values)[place])
                                       : static_cast<const float*>(matrix.values)[place];
}

// out[d] = x[d] / sqrt(mean(x^2) + eps) * scale[d].  `out` may be `x`.
inline void rms_norm(const float* x, const float* scale, float eps, float* out, std::size_t D) {
  const std::size_t whole = D / W * W;
  Vec squares = set1(0.0f);
  for (std::size_t d = 0; d < whole; d += W) squares = fma(load(x + d), load(x + d), squares);
  float total = sum(squares);
  for (std::size_t d = whole; d < D; ++d) total = fma(x[d], x[d], total);

  const float inverse_rms = 1.0f / __builtin_sqrtf(total / static_cast<float>(D) + eps);
  const Vec factor = set1(inverse_rms);
  for (std::size_t d = 0; d < whole; d += W) {
    store(out + d, mul(mul(load(x + d), factor), load(scale + d)));
  }
  for (std::size_t d = whole; d < D; ++d) out[d] = x[d] * inverse_rms * scale[d];
}

}  // namespace ossia::OSSIA_ISA
