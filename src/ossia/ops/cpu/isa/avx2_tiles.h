// Tiled products with AVX2: bytes times bytes, added in pairs and fours.
//
// Weights of MXFP4 are looked up as 0 to 24, so a pair of products is 24 * 127 * 2 = 6,096 at most,
// and four pairs, 24,384 (24,576 where -128 stands for what is no number), are added in 16 bits
// before they are widened. int8 needs the signs moved to the activations, and widening at once: a
// pair is 127 * 127 * 2 = 32,258. In 32 bits no block comes near the end.
// One token keeps its sums in registers; several keep them in the first-level cache, and eight
// vectors of weights stay in registers while the tokens go by.
#pragma once
#include "tiles.h"

namespace ossia::OSSIA_ISA {
namespace {

inline float largest_of_block(const float* x) {
  const __m256i positive = _mm256_set1_epi32(0x7fffffff);  // then bits stand in order, NaN on top
  __m256i top = _mm256_setzero_si256();
  for (int i = 0; i < 4; ++i) {
    const __m256i bits = _mm256_castps_si256(load(x + 8 * i));
    top = _mm256_max_epi32(top, _mm256_and_si256(bits, positive));
  }
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return float_of(static_cast<std::uint32_t>(_mm_cvtsi128_si32(four)));
}

inline std::int32_t round_to_int8(const float* x, float factor, std::int8_t* out) {
  const __m256 scale = _mm256_set1_ps(factor);
  __m256i whole[4];
  for (int i = 0; i < 4; ++i) whole[i] = _mm256_cvtps_epi32(_mm256_mul_ps(load(x + 8 * i), scale));
  const __m256i words[2] = {_mm256_packs_epi32(whole[0], whole[1]),
                            _mm256_packs_epi32(whole[2], whole[3])};
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packing works by halves
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words[0], words[1]), order);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
  const __m256i one = _mm256_set1_epi16(1);
  const __m256i sums =
      _mm256_add_epi32(_mm256_madd_epi16(words[0], one), _mm256_madd_epi16(words[1], one));
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

inline __m256i load32(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

// The same four activations for eight rows.
inline __m256i four_columns(const std::int8_t* x) {
  std::int32_t four;
  __builtin_memcpy(&four, x, 4);
  return _mm256_set1_epi32(four);
}

inline __m256i pairs(__m256i weight, const std::int8_t* x) {
  return _mm256_maddubs_epi16(weight, four_columns(x));
}

// Eight rows of one tile; `rows` is 0 or 8.
struct PackedRows {
  __m256i weight[8];

  PackedRows(const std::uint8_t* tile, std::size_t rows) {
    const __m256i table =
        _mm256_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0, 12, 13, 14, 15,
                         16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    const __m256i low = _mm256_set1_epi8(15);
    for (int j = 0; j < 4; ++j) {
      const __m256i both = load32(tile + 64 * j + 4 * rows);
      weight[2 * j] = _mm256_shuffle_epi8(table, _mm256_and_si256(both, low));
      weight[2 * j + 1] =
          _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(both, 4), low));
    }
  }
  static __m256 scales(const std::uint8_t* scale) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(scale));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu8_epi32(bytes), 23));
  }
  __m256i dot(const std::int8_t* x, std::int32_t offset) const {
    const __m256i one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_set1_epi32(offset);
    for (int i = 0; i < 8; i += 4) {
      const __m256i left =
          _mm256_add_epi16(pairs(weight[i], x + 4 * i), pairs(weight[i + 1], x + 4 * i + 4));
      const __m256i right = _mm256_add_epi16(pairs(weight[i + 2], x + 4 * i + 8),
                                             pairs(weight[i + 3], x + 4 * i + 12));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_add_epi16(left, right), one));
    }
    return sum;
  }
};

struct Int8Rows {
  __m256i weight[8], size[8];

  Int8Rows(const std::int8_t* tile, std::size_t rows) {
    for (int i = 0; i < 8; ++i) {
      weight[i] = load32(tile + 64 * i + 4 * rows);
      size[i] = _mm256_abs_epi8(weight[i]);
    }
  }
  static __m256 scales(const std::uint16_t* scale) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scale)));
  }
  __m256i dot(const std::int8_t* x, std::int32_t) const {
    const __m256i one = _mm256_set1_epi16(1);
    __m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int i = 0; i < 8; ++i) {
      const __m256i signed_x = _mm256_sign_epi8(four_columns(x + 4 * i), weight[i]);
      const __m256i two = _mm256_maddubs_epi16(size[i], signed_x);
      sum[i % 2] = _mm256_add_epi32(sum[i % 2], _mm256_madd_epi16(two, one));
    }
    return _mm256_add_epi32(sum[0], sum[1]);
  }
};

constexpr std::size_t kFetchAhead = 4096;  // bytes

// A fetch beyond the last weight is harmless.
inline void fetch_ahead(const void* values, std::size_t bytes, const void* scales) {
  for (std::size_t byte = 0; byte < bytes; byte += 64) {
    __builtin_prefetch(static_cast<const char*>(values) + byte + kFetchAhead);
  }
  __builtin_prefetch(static_cast<const char*>(scales) + kFetchAhead / kGroup);
}

template <class Rows, std::size_t kTile, class Value, class Scale>
inline void dot_one(const Value* values, const Scale* scales, std::size_t blocks, const Pass& pass,
                    GroupTotals& total) {
  __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (std::size_t j = 0; j < blocks; ++j, values += kTile, scales += kGroup) {
    fetch_ahead(values, kTile, scales);
    const std::int8_t* x = pass.value + j * kTileBlock;
    const __m256 scale = _mm256_set1_ps(pass.scale[j]);
    for (std::size_t half = 0; half < 2; ++half) {
      const __m256i whole = Rows(values, 8 * half).dot(x, pass.offset[j]);
      const __m256 unit = _mm256_mul_ps(Rows::scales(scales + 8 * half), scale);
      sum[half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), unit, sum[half]);
    }
  }
  for (std::size_t half = 0; half < 2; ++half) _mm256_store_ps(total[0] + 8 * half, sum[half]);
}

template <class Rows, std::size_t kTile, class Value, class Scale>
inline void dot_many(const Value* values, const Scale* scales, std::size_t blocks, const Pass& pass,
                     GroupTotals& total) {
  for (std::size_t t = 0; t < pass.tokens; ++t) {
    for (std::size_t r = 0; r < kGroup; r += 8) {
      _mm256_store_ps(total[t] + r, _mm256_setzero_ps());
    }
  }
  const std::size_t tokens = pass.tokens;  // in locals: what is stored may not be what is read
  const std::int8_t* x = pass.value;
  const float* scale = pass.scale;
  const std::int32_t* offset = pass.offset;
  for (std::size_t j = 0; j < blocks; ++j, values += kTile, scales += kGroup) {
    fetch_ahead(values, kTile, scales);
    for (std::size_t half = 0; half < 2; ++half) {
      const Rows rows(values, 8 * half);
      const __m256 row_scale = Rows::scales(scales + 8 * half);
      float* sum = total[0] + 8 * half;
      for (std::size_t t = 0; t < tokens; ++t, sum += kGroup) {
        const __m256i whole = rows.dot(x + t * kTileBlock, offset[t]);
        const __m256 unit = _mm256_mul_ps(row_scale, _mm256_set1_ps(scale[t]));
        _mm256_store_ps(sum, _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), unit, _mm256_load_ps(sum)));
      }
    }
    x += tokens * kTileBlock;
    scale += tokens;
    offset += tokens;
  }
}

inline void dot_packed(const std::uint8_t* values, const std::uint8_t* scales, std::size_t blocks,
                       const Pass& pass, GroupTotals& total) {
  const auto dot = pass.tokens == 1 ? dot_one<PackedRows, kPackedTile, std::uint8_t, std::uint8_t>
                                    : dot_many<PackedRows, kPackedTile, std::uint8_t, std::uint8_t>;
  dot(values, scales, blocks, pass, total);
}

inline void dot_int8(const std::int8_t* values, const std::uint16_t* scales, std::size_t blocks,
                     const Pass& pass, GroupTotals& total) {
  const auto dot = pass.tokens == 1 ? dot_one<Int8Rows, kInt8Tile, std::int8_t, std::uint16_t>
                                    : dot_many<Int8Rows, kInt8Tile, std::int8_t, std::uint16_t>;
  dot(values, scales, blocks, pass, total);
}

}  // namespace
}  // namespace ossia::OSSIA_ISA
