// Tiled products with AVX-512 VNNI: bytes times bytes, four of them added to each of sixteen rows.
//
// The instruction wants weights that are never negative: MXFP4 is looked up as 0 to 24, int8 gets
// 128 more; the pass holds what that adds too much. No step can overflow: a block's 32 products
// reach 255 * 128 * 32 = 1,044,480 before the offset is in, and 520,192 at the end, which a float
// holds exactly. VBMI's byte permutation is not needed: sixteen values fit a shuffle.
//
// Up to four tokens keep their sums in registers; more keep them in the first-level cache, and
// eight vectors of weights stay in registers while the tokens go by.
#pragma once
#include "tiles.h"

namespace ossia::OSSIA_ISA {
namespace {

inline float largest_of_block(const float* x) {
  const __m512i positive = _mm512_set1_epi32(0x7fffffff);  // then bits stand in order, NaN on top
  const __m512i left = _mm512_and_si512(_mm512_castps_si512(load(x)), positive);
  const __m512i right = _mm512_and_si512(_mm512_castps_si512(load(x + 16)), positive);
  return float_of(
      static_cast<std::uint32_t>(_mm512_reduce_max_epi32(_mm512_max_epi32(left, right))));
}

inline std::int32_t round_to_int8(const float* x, float factor, std::int8_t* out) {
  const __m512 scale = _mm512_set1_ps(factor);
  __m128i sums = _mm_setzero_si128();
  for (int half = 0; half < 2; ++half) {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(load(x + 16 * half), scale));
    const __m128i bytes = _mm512_cvtsepi32_epi8(whole);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16 * half), bytes);
    sums = _mm_dpbusd_epi32(sums, _mm_set1_epi8(1), bytes);
  }
  sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xb1)));
}

// Sixteen rows of one tile; weight[i] holds columns 4i to 4i + 3.
struct Rows {
  __m512i weight[8];

  // Two chains: one would wait for itself.
  __m512i dot(const std::int8_t* x, std::int32_t offset) const {
    __m512i sum[2] = {_mm512_set1_epi32(offset), _mm512_set1_epi32(0)};
    for (int i = 0; i < 8; ++i) {
      std::int32_t four;
      __builtin_memcpy(&four, x + 4 * i, 4);
      sum[i % 2] = _mm512_dpbusd_epi32(sum[i % 2], weight[i], _mm512_set1_epi32(four));
    }
    return _mm512_add_epi32(sum[0], sum[1]);
  }
};

struct PackedRows : Rows {
  using Value = std::uint8_t;
  using Scale = std::uint8_t;
  static constexpr std::size_t kTile = kPackedTile;

  explicit PackedRows(const Value* tile) {
    const __m512i table = _mm512_broadcast_i32x4(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m512i low = _mm512_set1_epi8(15);
    for (int j = 0; j < 4; ++j) {
      const __m512i both = _mm512_loadu_si512(tile + 64 * j);
      const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
      weight[2 * j] = _mm512_shuffle_epi8(table, _mm512_and_si512(both, low));
      weight[2 * j + 1] = _mm512_shuffle_epi8(table, upper);
    }
  }
  static Vec scales(const Scale* scale) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(scale));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu8_epi32(bytes), 23));
  }
};

struct Int8Rows : Rows {
  using Value = std::int8_t;
  using Scale = std::uint16_t;
  static constexpr std::size_t kTile = kInt8Tile;

  explicit Int8Rows(const Value* tile) {
    const __m512i sign = _mm512_set1_epi8(-128);
    for (int i = 0; i < 8; ++i) {
      weight[i] = _mm512_xor_si512(_mm512_loadu_si512(tile + 64 * i), sign);
    }
  }
  static Vec scales(const Scale* scale) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(scale)));
  }
};

// sum + (whole numbers) * (scale of the row) * (scale of the token)
inline Vec add_block(__m512i whole, Vec row_scale, float token_scale, Vec sum) {
  return fma(_mm512_cvtepi32_ps(whole), mul(row_scale, set1(token_scale)), sum);
}

constexpr std::size_t kFetchAhead = 4096;  // bytes

template <class Tile, std::size_t kTokens>
inline void dot_few(const typename Tile::Value* values, const typename Tile::Scale* scales,
                    std::size_t blocks, const Pass& pass, GroupTotals& total) {
  Vec sum[kTokens];
  for (std::size_t t = 0; t < kTokens; ++t) sum[t] = set1(0);
  const std::int8_t* x = pass.value;
  const float* scale = pass.scale;
  const std::int32_t* offset = pass.offset;
  for (std::size_t j = 0; j < blocks; ++j, values += Tile::kTile, scales += kGroup) {
    for (std::size_t byte = 0; byte < Tile::kTile; byte += 64) {
      __builtin_prefetch(reinterpret_cast<const char*>(values) + byte + kFetchAhead);
    }
    __builtin_prefetch(scales + 8 * kGroup);
    const Tile rows(values);
    const Vec row_scale = Tile::scales(scales);
    for (std::size_t t = 0; t < kTokens; ++t, x += kTileBlock) {
      sum[t] = add_block(rows.dot(x, *offset++), row_scale, *scale++, sum[t]);
    }
  }
  for (std::size_t t = 0; t < kTokens; ++t) store(total[t], sum[t]);
}

template <class Tile>
inline void dot_many(const typename Tile::Value* values, const typename Tile::Scale* scales,
                     std::size_t blocks, const Pass& pass, GroupTotals& total) {
  const std::size_t tokens = pass.tokens;  // in locals: what is stored may not be what is read
  for (std::size_t t = 0; t < tokens; ++t) store(total[t], set1(0));
  const std::int8_t* x = pass.value;
  const float* scale = pass.scale;
  const std::int32_t* offset = pass.offset;
  for (std::size_t j = 0; j < blocks; ++j, values += Tile::kTile, scales += kGroup) {
    const Tile rows(values);
    const Vec row_scale = Tile::scales(scales);
    for (std::size_t t = 0; t < tokens; ++t, x += kTileBlock) {
      store(total[t], add_block(rows.dot(x, *offset++), row_scale, *scale++, load(total[t])));
    }
  }
}

template <class Tile>
inline void dot_tiles(const typename Tile::Value* values, const typename Tile::Scale* scales,
                      std::size_t blocks, const Pass& pass, GroupTotals& total) {
  switch (pass.tokens) {
    case 1:
      return dot_few<Tile, 1>(values, scales, blocks, pass, total);
    case 2:
      return dot_few<Tile, 2>(values, scales, blocks, pass, total);
    case 3:
      return dot_few<Tile, 3>(values, scales, blocks, pass, total);
    case 4:
      return dot_few<Tile, 4>(values, scales, blocks, pass, total);
    default:
      dot_many<Tile>(values, scales, blocks, pass, total);
  }
}

inline void dot_packed(const std::uint8_t* values, const std::uint8_t* scales, std::size_t blocks,
                       const Pass& pass, GroupTotals& total) {
  dot_tiles<PackedRows>(values, scales, blocks, pass, total);
}

inline void dot_int8(const std::int8_t* values, const std::uint16_t* scales, std::size_t blocks,
                     const Pass& pass, GroupTotals& total) {
  dot_tiles<Int8Rows>(values, scales, blocks, pass, total);
}

}  // namespace
}  // namespace ossia::OSSIA_ISA
