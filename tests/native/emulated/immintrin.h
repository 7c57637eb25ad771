// Stands in front of the compiler's header, so that isa/avx512.h runs on a CPU without AVX-512:
// SIMDe (apt-get install libsimde-dev) does in plain code what each instruction is documented to
// do.
#pragma once
#include_next <immintrin.h>
#include <simde/x86/avx512.h>

// Macros in gcc, when it does not optimise or does.
#undef _mm512_setr_epi32
#undef _mm_dpbusd_epi32

#define __m512 simde__m512
#define __m512i simde__m512i
#define _mm512_add_epi32 simde_mm512_add_epi32
#define _mm512_add_ps simde_mm512_add_ps
#define _mm512_and_si512 simde_mm512_and_si512
#define _mm512_broadcast_i32x4 simde_mm512_broadcast_i32x4
#define _mm512_castps_si512 simde_mm512_castps_si512
#define _mm512_castsi256_si512 simde_mm512_castsi256_si512
#define _mm512_castsi512_ps simde_mm512_castsi512_ps
#define _mm512_cvtepi8_epi16 simde_mm512_cvtepi8_epi16
#define _mm512_cvtsepi32_epi8 simde_mm512_cvtsepi32_epi8
#define _mm512_div_ps simde_mm512_div_ps
#define _mm512_dpbusd_epi32 simde_mm512_dpbusd_epi32
#define _mm512_fmadd_ps simde_mm512_fmadd_ps
#define _mm512_loadu_ps simde_mm512_loadu_ps
#define _mm512_loadu_si512 simde_mm512_loadu_si512
#define _mm512_madd_epi16 simde_mm512_madd_epi16
#define _mm512_max_epi32 simde_mm512_max_epi32
#define _mm512_max_ps simde_mm512_max_ps
#define _mm512_min_ps simde_mm512_min_ps
#define _mm512_mul_ps simde_mm512_mul_ps
#define _mm512_permutexvar_epi32 simde_mm512_permutexvar_epi32
#define _mm512_permutexvar_ps simde_mm512_permutexvar_ps
#define _mm512_set1_epi8 simde_mm512_set1_epi8
#define _mm512_set1_epi32 simde_mm512_set1_epi32
#define _mm512_set1_ps simde_mm512_set1_ps
#define _mm512_setr_epi32 simde_mm512_setr_epi32
#define _mm512_setzero_si512 simde_mm512_setzero_si512
#define _mm512_shuffle_epi8 simde_mm512_shuffle_epi8
#define _mm512_slli_epi32 simde_mm512_slli_epi32
#define _mm512_srli_epi16 simde_mm512_srli_epi16
#define _mm512_srlv_epi32 simde_mm512_srlv_epi32
#define _mm512_storeu_ps simde_mm512_storeu_ps
#define _mm512_sub_ps simde_mm512_sub_ps
#define _mm512_xor_si512 simde_mm512_xor_si512
#define _mm_dpbusd_epi32 simde_mm_dpbusd_epi32

// What SIMDe 0.7 lacks.
inline simde__m512i _mm512_cvtepu16_epi32_emulated(__m256i x) {
  alignas(32) std::uint16_t from[16];
  alignas(64) std::int32_t to[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(from), x);
  for (int i = 0; i < 16; ++i) to[i] = from[i];
  return simde_mm512_loadu_si512(to);
}
inline __m256i _mm512_cvtepi32_epi16_emulated(simde__m512i x) {  // the lower halves
  std::int32_t from[16];
  alignas(32) std::uint16_t to[16];
  simde_mm512_storeu_si512(from, x);
  for (int i = 0; i < 16; ++i) to[i] = static_cast<std::uint16_t>(from[i]);
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(to));
}
inline simde__m512i _mm512_cvtepu8_epi32_emulated(__m128i x) {
  return _mm512_cvtepu16_epi32_emulated(_mm256_cvtepu8_epi16(x));
}
inline simde__m512 _mm512_cvtepi32_ps_emulated(simde__m512i x) {
  alignas(64) std::int32_t from[16];
  alignas(64) float to[16];
  simde_mm512_storeu_si512(from, x);
  for (int i = 0; i < 16; ++i) to[i] = static_cast<float>(from[i]);
  return simde_mm512_loadu_ps(to);
}
inline simde__m512 _mm512_cvtph_ps_emulated(__m256i x) {
  alignas(64) float to[16];
  _mm256_store_ps(to, _mm256_cvtph_ps(_mm256_castsi256_si128(x)));
  _mm256_store_ps(to + 8, _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)));
  return simde_mm512_loadu_ps(to);
}
inline simde__m512i _mm512_cvtps_epi32_emulated(simde__m512 x) {
  alignas(64) float from[16];
  alignas(64) std::int32_t to[16];
  simde_mm512_storeu_ps(from, x);
  for (int i = 0; i < 16; ++i) to[i] = _mm_cvtss_si32(_mm_set_ss(from[i]));
  return simde_mm512_loadu_si512(to);
}
inline float _mm512_reduce_add_ps_emulated(simde__m512 x) {  // halves, as gcc does it
  float lane[16];
  simde_mm512_storeu_ps(lane, x);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}
inline float _mm512_reduce_max_ps_emulated(simde__m512 x) {
  float lane[16];
  simde_mm512_storeu_ps(lane, x);
  for (int i = 1; i < 16; ++i) lane[0] = lane[i] > lane[0] ? lane[i] : lane[0];
  return lane[0];
}
inline int _mm512_reduce_max_epi32_emulated(simde__m512i x) {
  std::int32_t lane[16];
  simde_mm512_storeu_si512(lane, x);
  for (int i = 1; i < 16; ++i) lane[0] = lane[i] > lane[0] ? lane[i] : lane[0];
  return lane[0];
}
#define _mm512_cvtepi32_epi16 _mm512_cvtepi32_epi16_emulated
#define _mm512_cvtepi32_ps _mm512_cvtepi32_ps_emulated
#define _mm512_cvtepu16_epi32 _mm512_cvtepu16_epi32_emulated
#define _mm512_cvtepu8_epi32 _mm512_cvtepu8_epi32_emulated
#define _mm512_cvtph_ps _mm512_cvtph_ps_emulated
#define _mm512_cvtps_epi32 _mm512_cvtps_epi32_emulated
#define _mm512_reduce_add_ps _mm512_reduce_add_ps_emulated
#define _mm512_reduce_max_epi32 _mm512_reduce_max_epi32_emulated
#define _mm512_reduce_max_ps _mm512_reduce_max_ps_emulated
