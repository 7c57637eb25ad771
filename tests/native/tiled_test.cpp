// Tiled weights: the bits of the portable kernels on every instruction set, and the numbers of the
// rule: activations rounded by blocks of 32, everything else exact, here in double.
#include <algorithm>

#include "judge.h"

using ossia::Quantised;
using Bytes = std::vector<std::uint8_t>;

namespace {

// Rounded activations in arrays of their own, so that a step outside any of them is seen.
struct Rounded {
  std::vector<std::int8_t> value;
  Floats scale;
  Ints offset;

  Rounded(std::size_t T, std::size_t columns) {
    const std::size_t blocks = T * ((columns + 31) / 32);
    value.resize(blocks * 32), scale.resize(blocks), offset.resize(blocks);
  }
  Quantised arrays() { return {value.data(), scale.data(), offset.data()}; }
};

// Tiles that a kernel made, and what their bytes mean, row by row in the order of the source.
struct Tiled {
  Bytes values, scales;
  std::vector<double> value;
  Matrix matrix;
  bool is_finite = true;

  Tiled(const Kernels& kernels, Pool& pool, const Weights& from, Format format,
        std::size_t stack = 1, bool pairs = false) {
    const std::size_t rows = from.matrix.rows, columns = from.matrix.columns;
    const bool is_packed = format == Format::tiled_mxfp4;
    const std::size_t J = (columns + 31) / 32;
    const std::size_t G = pairs ? (rows + 31) / 32 * 2 : (rows + 15) / 16;
    values.assign(stack * G * J * (is_packed ? 256 : 512), 0xee);
    scales.assign(stack * G * J * (is_packed ? 16 : 32), 0xee);
    matrix = {format, values.data(), scales.data(), rows, columns, G};
    pool.run(kernels.repack, ossia::Repack{from.matrix, matrix, stack, pairs, &is_finite});
    for (std::size_t n = 0; n < stack; ++n) {
      for (std::size_t row = 0; row < rows; ++row) {
        const std::size_t unit = row / 2;  // a channel
        const std::size_t group = pairs ? unit / 16 * 2 + row % 2 : row / 16;
        const std::size_t r = (pairs ? unit : row) % 16;
        for (std::size_t c = 0; c < columns; ++c) {
          value.push_back(number((n * G + group) * J + c / 32, r, c % 32));
        }
      }
    }
  }

  double number(std::size_t tile, std::size_t r, std::size_t q) const {
    if (matrix.format == Format::tiled_mxfp4) {
      const double size[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
      const int byte = values[tile * 256 + 64 * (q / 8) + 4 * r + q % 4];
      const int code = q & 4 ? byte >> 4 : byte & 15;
      return std::ldexp(code & 8 ? -size[code & 7] : size[code & 7], scales[tile * 16 + r] - 127);
    }
    std::uint16_t half;
    std::memcpy(&half, &scales[(tile * 16 + r) * 2], 2);
    const double unit = half >> 10 ? std::ldexp(1024 + (half & 1023), (half >> 10) - 25)
                                   : std::ldexp(half & 1023, -24);
    return static_cast<std::int8_t>(values[tile * 512 + 64 * (q / 4) + 4 * r + q % 4]) * unit;
  }

  double dot(std::size_t row, const double* x) const {
    double sum = 0;
    for (std::size_t c = 0; c < matrix.columns; ++c) sum += value[row * matrix.columns + c] * x[c];
    return sum;
  }
};

// What the kernels make of activations: whole numbers times 1/127 of a block's largest.
template <class Float>
std::vector<double> rounded(const Float* x, std::size_t columns) {
  std::vector<double> out(columns);
  for (std::size_t first = 0; first < columns; first += 32) {
    const std::size_t last = std::min(columns, first + 32);
    float largest = 0;
    for (std::size_t c = first; c < last; ++c) {
      largest = std::max(largest, std::fabs(static_cast<float>(x[c])));
    }
    const float factor = largest > 0 ? 127 / largest : 0;
    for (std::size_t c = first; c < last; ++c) {
      out[c] = static_cast<double>(std::rint(static_cast<float>(x[c]) * factor)) * largest / 127;
    }
  }
  return out;
}

// project_out with neither residual nor bias: the bare product of a matrix with T rows.
Floats product(const Kernels& kernels, Pool& pool, const Matrix& weight, const Floats& x) {
  const std::size_t T = x.size() / weight.columns;
  const Floats hidden(T * weight.rows), bias(weight.rows);
  Rounded scratch(T, weight.columns);
  Floats out(T * weight.rows);
  pool.run(kernels.project_out, ossia::ProjectOut{hidden.data(), x.data(), weight, bias.data(),
                                                  scratch.arrays(), out.data(), T});
  return out;
}

std::vector<double> law_of_product(const Tiled& weight, const Floats& x) {
  const std::size_t columns = weight.matrix.columns;
  std::vector<double> law;
  for (std::size_t first = 0; first < x.size(); first += columns) {
    const std::vector<double> row = rounded(&x[first], columns);
    for (std::size_t r = 0; r < weight.matrix.rows; ++r) law.push_back(weight.dot(r, row.data()));
  }
  return law;
}

constexpr Format kTiled[] = {Format::tiled_int8, Format::tiled_mxfp4};

void test_repack(const Kernels& kernels, const Kernels& plain, Pool& pool) {
  Pool alone(1);
  for (const Format from : {Format::f32, Format::bf16, Format::mxfp4}) {
    const Weights weights(from, 38, from == Format::mxfp4 ? 96 : 75, 3);
    for (const Format to : kTiled) {
      if (from == Format::mxfp4 && to == Format::tiled_int8) continue;
      for (const bool pairs : {false, true}) {
        const Tiled ours(kernels, pool, weights, to, 3, pairs);
        const Tiled law(plain, alone, weights, to, 3, pairs);
        expect(kernels.isa, "tiles are the same bytes everywhere",
               ours.values == law.values && ours.scales == law.scales && ours.is_finite);
        if (from == Format::mxfp4) {
          expect(kernels.isa, "tiles hold what was packed", ours.value == weights.value);
        }
      }
    }
  }
  Weights weights(Format::f32, 17, 40);
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    weights.f32[16 * 40 + 39] = bad;
    for (const Format to : kTiled) {
      expect(kernels.isa, "what is not finite is not rounded",
             !Tiled(kernels, pool, weights, to).is_finite);
    }
  }
}

// Every number of tokens, columns that are no whole block, rows that are no whole group.
void test_products(const Kernels& kernels, const Kernels& plain, Pool& pool) {
  Pool alone(1);
  for (const Format format : kTiled) {
    for (const std::size_t columns : {5, 32, 200}) {
      const Tiled weight(kernels, pool, Weights(Format::f32, 37, columns), format);
      const Floats x = normal(33 * columns);
      const Floats all = product(kernels, pool, weight.matrix, x);
      expect(kernels.isa, "tiles are multiplied", near(all, law_of_product(weight, x)));
      for (std::size_t T = 0; T <= 33; ++T) {
        const Floats few(x.begin(), x.begin() + T * columns);
        const Floats ours = product(kernels, pool, weight.matrix, few);
        expect(kernels.isa, "tiles times any number of tokens are the same",
               same(ours, Floats(all.begin(), all.begin() + T * 37)));
        expect(kernels.isa, "tiles are multiplied to the same bits everywhere",
               same(ours, product(plain, alone, weight.matrix, few)));
      }
    }
  }
}

// The largest whole numbers there are, with every sign: nothing may saturate on the way.
void test_largest(const Kernels& kernels, Pool& pool) {
  const auto sign = [](std::size_t pattern, std::size_t i) {
    const bool down[4] = {false, true, i % 2 == 0, i / 4 % 2 == 0};
    return down[pattern % 4] ? -1.0f : 1.0f;
  };
  Weights weights(Format::f32, 16, 64);
  for (std::size_t i = 0; i < 16 * 64; ++i) weights.f32[i] = 6 * sign(i / 64, i % 64);
  for (const Format format : kTiled) {
    const Tiled weight(kernels, pool, weights, format);
    for (const std::size_t T : {1, 2, 4, 8}) {
      Floats x(T * 64);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = sign(i / 64, i % 64);
      expect(kernels.isa, "the largest products are right",
             near(product(kernels, pool, weight.matrix, x), law_of_product(weight, x)));
    }
  }
}

void test_not_finite(const Kernels& kernels, Pool& pool) {
  for (const Format format : kTiled) {
    const Tiled weight(kernels, pool, Weights(Format::f32, 16, 100), format);
    for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
      for (const std::size_t place : {0, 31, 64, 99}) {
        Floats x = normal(3 * 100);
        const Floats before = product(kernels, pool, weight.matrix, x);
        x[100 + place] = bad;
        const Floats after = product(kernels, pool, weight.matrix, x);
        bool seen = true;
        for (std::size_t r = 0; r < 16; ++r) {
          seen &= after[16 + r] != after[16 + r];
          seen &= after[r] == before[r] && after[32 + r] == before[32 + r];
        }
        expect(kernels.isa, "what is not finite is seen, in its own row only", seen);
      }
    }
    const Floats tiny(100, 1e-39f), zeros(100);
    for (const Floats& x : {tiny, zeros}) {
      const Floats out = product(kernels, pool, weight.matrix, x);
      expect(kernels.isa, "almost nothing gives almost nothing",
             std::all_of(out.begin(), out.end(), [](float y) { return std::fabs(y) < 1e-29f; }));
    }
  }
}

void test_head(const Kernels& kernels, Pool& pool) {
  const std::size_t T = 34, D = 70, V = 41;
  const Floats hidden = normal(T * D), norm = normal(D);
  Ints row;
  for (std::size_t t = 0; t < T; ++t) row.push_back(static_cast<std::int32_t>(T - 1 - t));
  for (const Format format : kTiled) {
    const Tiled head(kernels, pool, Weights(Format::bf16, V, D), format);
    Floats rows(T * D), logits(T * V);
    Rounded scratch(T, D);
    pool.run(kernels.unembed,
             ossia::Unembed{hidden.data(), row.data(), norm.data(), 1e-5f, head.matrix, rows.data(),
                            scratch.arrays(), logits.data(), T, D});
    expect(kernels.isa, "a tiled head scores every token",
           near(logits, law_of_product(head, rows)));
  }
}

void test_qkv(const Kernels& kernels, Pool& pool) {
  const std::size_t T = 35, D = 40, C = 6, E = 12, X = 6;
  const Floats hidden = normal(T * D), norm = normal(D), frequency(C / 2);
  const Ints position(T);
  for (const Format format : kTiled) {
    const Tiled query(kernels, pool, Weights(Format::bf16, E, D), format);
    const Tiled key(kernels, pool, Weights(Format::f32, X, D), format);
    const Tiled value(kernels, pool, Weights(Format::bf16, X, D), format);
    const Floats query_bias = normal(E), key_bias = normal(X), value_bias = normal(X);
    Floats rows(T * D), turn(T * C), q(T * E), k(T * X), v(T * X);
    std::vector<std::byte> scratch(Quantised::bytes(T, D));
    pool.run(kernels.project_qkv, ossia::ProjectQkv{hidden.data(),
                                                    position.data(),
                                                    norm.data(),
                                                    1e-5f,
                                                    query.matrix,
                                                    key.matrix,
                                                    value.matrix,
                                                    query_bias.data(),
                                                    key_bias.data(),
                                                    value_bias.data(),
                                                    frequency.data(),
                                                    1.0f,
                                                    rows.data(),
                                                    turn.data(),
                                                    Quantised::in(scratch.data(), T, D),
                                                    q.data(),
                                                    k.data(),
                                                    v.data(),
                                                    T,
                                                    D,
                                                    C});
    const auto matches = [&](const Tiled& weight, const Floats& bias, const Floats& ours) {
      std::vector<double> law = law_of_product(weight, rows);  // nothing is turned at position 0
      for (std::size_t i = 0; i < law.size(); ++i) law[i] += bias[i % bias.size()];
      return near(ours, law);
    };
    expect(kernels.isa, "queries, keys and values are projected with tiles",
           matches(query, query_bias, q) && matches(key, key_bias, k) &&
               matches(value, value_bias, v));
  }
}

// Channels that fill no whole group; enough tokens on one expert for two passes.
void test_mix(const Kernels& kernels, Pool& pool, std::size_t F) {
  const std::size_t T = 40, D = 70, N = 3, A = 2;
  const Floats hidden = normal(T * D), rows = normal(T * D), weight = normal(T * A);
  const Format format = Format::tiled_mxfp4;
  const Tiled gate_up(kernels, pool, Weights(Format::f32, 2 * F, D, N), format, N, true);
  const Tiled down(kernels, pool, Weights(Format::f32, D, F, N), format, N);
  const Weights up_bias(Format::bf16, N, 2 * F), down_bias(Format::f32, N, D);
  Ints expert;
  for (std::size_t t = 0; t < T; ++t) {
    expert.push_back(t % 8 ? 2 : 1);
    expert.push_back(t % 3 ? 0 : 1 + (t % 8 == 0));
  }
  const auto run = [&](std::size_t tokens) {
    std::vector<std::size_t> item(tokens * A + N + 1);
    Rounded outer(tokens * A, D), inner(tokens * A, F);
    Floats out(tokens * D);
    pool.run(kernels.moe, ossia::Moe{hidden.data(),
                                     rows.data(),
                                     expert.data(),
                                     weight.data(),
                                     gate_up.matrix,
                                     down.matrix,
                                     up_bias.matrix,
                                     down_bias.matrix,
                                     7.0f,
                                     1.702f,
                                     item.data(),
                                     nullptr,
                                     nullptr,
                                     outer.arrays(),
                                     inner.arrays(),
                                     out.data(),
                                     tokens,
                                     A,
                                     N,
                                     D,
                                     F});
    return out;
  };
  std::vector<double> law(hidden.begin(), hidden.end());
  for (std::size_t i = 0; i < T * A; ++i) {
    const std::size_t t = i / A, n = expert[i];
    const std::vector<double> x = rounded(&rows[t * D], D);
    std::vector<double> inner(F);
    for (std::size_t f = 0; f < F; ++f) {
      const std::size_t row = n * 2 * F + 2 * f;
      const double gate = std::min(gate_up.dot(row, x.data()) + up_bias.value[row], 7.0);
      const double up = gate_up.dot(row + 1, x.data()) + up_bias.value[row + 1];
      inner[f] = gate / (1 + std::exp(-1.702 * gate)) * (std::max(-7.0, std::min(up, 7.0)) + 1);
    }
    inner = rounded(inner.data(), F);
    for (std::size_t d = 0; d < D; ++d) {
      law[t * D + d] +=
          weight[i] * (down.dot(n * D + d, inner.data()) + down_bias.value[n * D + d]);
    }
  }
  const Floats together = run(T);
  // near a half, the last bit of an exponential decides which whole number is the nearest
  expect(kernels.isa, "experts are mixed from tiles", near(together, law, 1e-4));
  for (std::size_t few = 0; few < T; few += 3) {
    expect(kernels.isa, "a token is mixed from tiles the same in any company",
           same(run(few), Floats(together.begin(), together.begin() + few * D)));
  }
}

}  // namespace

void test_tiles(const Kernels& kernels, const Kernels& plain, Pool& pool) {
  test_repack(kernels, plain, pool);
  test_products(kernels, plain, pool);
  test_largest(kernels, pool);
  test_not_finite(kernels, pool);
  test_head(kernels, pool);
  test_qkv(kernels, pool);
  for (const std::size_t F : {5, 32, 40, 64}) test_mix(kernels, pool, F);
}
