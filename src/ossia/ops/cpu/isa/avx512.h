// Sixteen floats: AVX-512 F, BW and VL.
#pragma once
#include <immintrin.h>

#include "mxfp4_bits.h"

namespace ossia::OSSIA_ISA {

constexpr std::size_t W = 16;
using Vec = __m512;

inline Vec set1(float x) { return _mm512_set1_ps(x); }
inline Vec load(const float* x) { return _mm512_loadu_ps(x); }
inline Vec load(const bf16* x) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline void store(float* out, Vec x) { _mm512_storeu_ps(out, x); }
inline Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
// Of a bound and a value; a value that is no number stays so (the second operand is returned).
inline Vec min(Vec bound, Vec x) { return _mm512_min_ps(bound, x); }
inline Vec max(Vec bound, Vec x) { return _mm512_max_ps(bound, x); }
// 2^n for whole n from -126 to 127.
inline Vec pow2(Vec n) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}
inline float sum(Vec x) { return _mm512_reduce_add_ps(x); }
inline float largest(Vec x) { return _mm512_reduce_max_ps(x); }

// Each lane gets the eight nibbles that hold its own, shifts it down, and looks its value up.
inline void widen_block(const std::uint8_t* block, std::uint8_t scale, Vec* out) {
  const auto twice = [](const void* x) {
    return _mm512_castsi256_si512(
        _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(x))));
  };
  const Vec value = load(mxfp4_bits.value[scale]);
  const __m512i words = twice(block);
  const __m512i shift = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  const __m512i first = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const __m512i last = _mm512_add_epi32(first, _mm512_set1_epi32(2));
  const auto look_up = [&](__m512i word) {  // uses the lowest four bits of each lane
    const __m512i code = _mm512_srlv_epi32(_mm512_permutexvar_epi32(word, words), shift);
    return _mm512_permutexvar_ps(code, value);
  };
  out[0] = look_up(first);
  out[1] = look_up(last);
}
constexpr bool kArranges = false;
inline void arrange16(const float*, float*) {}

}  // namespace ossia::OSSIA_ISA
