// What the tests of the kernels share: random weights in every stored form, and what is near
// enough.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "kernels.h"
#include "pool.h"

using ossia::bf16, ossia::Format, ossia::Kernels, ossia::Matrix, ossia::Pool;
using Floats = std::vector<float>;
using Ints = std::vector<std::int32_t>;

inline int failures = 0;

inline void expect(const char* isa, const char* rule, bool holds) {
  if (!holds) std::printf("FAILED on %s: %s\n", isa, rule), ++failures;
}

inline bool near(const Floats& ours, const std::vector<double>& law, double bound = 1e-6) {
  double error = 0, size = 1e-30;
  for (std::size_t i = 0; i < law.size(); ++i) {
    error += (ours[i] - law[i]) * (ours[i] - law[i]);
    size += law[i] * law[i];
  }
  return ours.size() == law.size() && std::sqrt(error / size) < bound;
}

inline bool same(const Floats& a, const Floats& b) {
  return a.size() == b.size() &&
         (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(float)));
}

inline std::mt19937 source(0);

inline Floats normal(std::size_t n, float size = 1) {
  std::normal_distribution<float> draw(0, size);
  Floats out(n);
  for (float& x : out) x = draw(source);
  return out;
}

// Weights in one of the stored forms, and what they mean.
struct Weights {
  Floats f32;
  std::vector<bf16> half;
  std::vector<std::uint8_t> blocks, scales;
  std::vector<double> value;
  Matrix matrix;

  Weights(Format format, std::size_t rows, std::size_t columns, std::size_t stack = 1) {
    const std::size_t n = stack * rows * columns;
    const float size = 1 / std::sqrt(static_cast<float>(columns));
    f32 = normal(n, size);
    value.assign(f32.begin(), f32.end());
    matrix = {format, f32.data(), nullptr, rows, columns};
    if (format == Format::bf16) {
      for (std::size_t i = 0; i < n; ++i) {
        std::uint32_t bits;
        std::memcpy(&bits, &f32[i], 4);
        half.push_back(static_cast<bf16>(bits >> 16));
        bits &= 0xffff0000u;
        float cut;
        std::memcpy(&cut, &bits, 4);
        value[i] = cut;
      }
      matrix.values = half.data();
    }
    if (format == Format::mxfp4) {
      const double code[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
      std::uniform_int_distribution<int> byte(0, 255), power(120, 123);
      for (std::size_t i = 0; i < n; i += 2) {
        if (i % 32 == 0) scales.push_back(static_cast<std::uint8_t>(power(source)));
        const int both = byte(source);
        blocks.push_back(static_cast<std::uint8_t>(both));
        for (int half_byte = 0; half_byte < 2; ++half_byte) {
          const int nibble = half_byte ? both >> 4 : both & 15;
          value[i + half_byte] =
              std::ldexp(nibble & 8 ? -code[nibble & 7] : code[nibble & 7], scales.back() - 127);
        }
      }
      matrix.values = blocks.data();
      matrix.scales = scales.data();
    }
  }

  template <class X>  // float or double
  double dot(std::size_t row, const X* x) const {
    double sum = 0;
    for (std::size_t c = 0; c < matrix.columns; ++c) sum += value[row * matrix.columns + c] * x[c];
    return sum;
  }
};

// Pages of every kind, in attend_test.cpp.
void test_attend(const Kernels& kernels, Pool& pool);
// Tiled weights, in tiled_test.cpp; `plain` is the judge of bits.
void test_tiles(const Kernels& kernels, const Kernels& plain, Pool& pool);
