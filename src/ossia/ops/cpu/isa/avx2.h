// Eight floats: AVX2 with FMA.
#pragma once
#include <immintrin.h>

#include "mxfp4_bits.h"

namespace ossia::OSSIA_ISA {

constexpr std::size_t W = 8;
using Vec = __m256;

inline Vec set1(float x) { return _mm256_set1_ps(x); }
inline Vec load(const float* x) { return _mm256_loadu_ps(x); }
inline Vec load(const bf16* x) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline void store(float* out, Vec x) { _mm256_storeu_ps(out, x); }
inline Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
inline Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
// Of a bound and a value; a value that is no number stays so (the second operand is returned).
inline Vec min(Vec bound, Vec x) { return _mm256_min_ps(bound, x); }
inline Vec max(Vec bound, Vec x) { return _mm256_max_ps(bound, x); }
// 2^n for whole n from -126 to 127.
inline Vec pow2(Vec n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
inline float sum(Vec x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float largest(Vec x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Low nibbles go to the lower half, high nibbles to the upper; both bytes of each bfloat16 are
// looked up; two shifts and masks widen 32 of them. No lane is crossed, so within sixteen columns
// the order is that of a transposed 4 x 4 square: `arrange16` puts the activations in it, too.
inline void widen_block(const std::uint8_t* block, std::uint8_t scale, Vec* out) {
  const auto twice = [](const std::uint8_t* x) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  };
  const __m256i nibbles = _mm256_srlv_epi64(twice(block), _mm256_setr_epi64x(0, 0, 4, 4));
  const __m256i code = _mm256_and_si256(nibbles, _mm256_set1_epi8(15));
  const __m256i low = _mm256_shuffle_epi8(twice(mxfp4_bits.bytes[scale][0]), code);
  const __m256i high = _mm256_shuffle_epi8(twice(mxfp4_bits.bytes[scale][1]), code);
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  const __m256i first = _mm256_unpacklo_epi8(low, high), last = _mm256_unpackhi_epi8(low, high);
  out[0] = _mm256_castsi256_ps(_mm256_slli_epi32(first, 16));
  out[1] = _mm256_castsi256_ps(_mm256_and_si256(first, upper));
  out[2] = _mm256_castsi256_ps(_mm256_slli_epi32(last, 16));
  out[3] = _mm256_castsi256_ps(_mm256_and_si256(last, upper));
}
constexpr bool kArranges = true;
inline void arrange16(const float* x, float* out) {
  __m128 a = _mm_loadu_ps(x), b = _mm_loadu_ps(x + 4), c = _mm_loadu_ps(x + 8),
         d = _mm_loadu_ps(x + 12);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(out, a);
  _mm_storeu_ps(out + 4, b);
  _mm_storeu_ps(out + 8, c);
  _mm_storeu_ps(out + 12, d);
}

}  // namespace ossia::OSSIA_ISA
