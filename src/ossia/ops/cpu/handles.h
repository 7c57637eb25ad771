// Weights, pages and spans as Python hands them over: checked once, then only read. Each keeps the
// arrays it was made of, often a mapped file.
// The array types are the check of dtype, rank, order and device.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "kernels.h"

namespace ossia {

namespace nb = nanobind;

template <typename T, std::size_t Rank>
using Array = nb::ndarray<T, nb::ndim<Rank>, nb::c_contig, nb::device::cpu>;
template <std::size_t Rank>
using Floats = Array<const float, Rank>;
template <std::size_t Rank>
using Ints = Array<const std::int32_t, Rank>;
using AnyArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

inline void require(bool holds, const char* otherwise) {
  if (!holds) throw nb::value_error(otherwise);
}

// One matrix, or a stack of them, as stored.
struct Stored {
  AnyArray values, scales;
  Matrix matrix;  // `rows` and `columns` of one
  std::size_t count;

  explicit Stored(AnyArray array) : values(std::move(array)) {
    require(values.ndim() == 2 || values.ndim() == 3,
            "weights: expected [rows, columns] or a stack");
    const bool is_f32 = values.dtype() == nb::dtype<float>();
    require(is_f32 || values.dtype() == nb::dtype<bf16>(),
            "weights: expected float32, or bfloat16 seen as uint16");
    take(is_f32 ? Format::f32 : Format::bf16, values.ndim());
  }

  Stored(Array<const std::uint8_t, 4> blocks, Array<const std::uint8_t, 3> scale)
      : values(blocks), scales(scale) {
    require(blocks.shape(3) == 16, "MXFP4 blocks: expected 16 bytes on the last axis");
    require_same(blocks, scale, 3);
    take(Format::mxfp4, 3);
    matrix.scales = scale.data();
    matrix.columns *= 32;
  }

  // Tiles: [n, G, J, 256 or 512] and [n, G, J, 16]; see ops/tiles.py.
  Stored(Array<const std::uint8_t, 4> tiles, AnyArray scale, std::size_t rows, std::size_t columns)
      : values(tiles), scales(scale), count(tiles.shape(0)) {
    const bool is_packed = scale.dtype() == nb::dtype<std::uint8_t>();
    require(is_packed || scale.dtype() == nb::dtype<std::uint16_t>(),
            "tiles: expected scales of uint8, or float16 seen as uint16");
    require(scale.ndim() == 4 && scale.shape(3) == 16 && tiles.shape(3) == (is_packed ? 256 : 512),
            "tiles: expected 16 scales, and 256 bytes of MXFP4 or 512 of int8");
    require_same(tiles, scale, 3);
    const std::size_t groups = tiles.shape(1);
    require(groups >= (rows + 15) / 16 && groups <= (rows + 15) / 16 + 1 &&
                tiles.shape(2) == (columns + 31) / 32,
            "tiles: not as many as rows and columns need");
    matrix = {is_packed ? Format::tiled_mxfp4 : Format::tiled_int8,
              tiles.data(),
              scale.data(),
              rows,
              columns,
              groups};
  }

  // One matrix that products can read: tiles, if any, row after row, as all but gates and ups are.
  bool is_plain_matrix() const { return count == 1 && is_row_after_row(); }
  bool is_row_after_row() const {
    return !matrix.is_tiled() || matrix.groups == (matrix.rows + 15) / 16;
  }

 private:
  void take(Format format, std::size_t axes) {
    count = axes == 3 ? values.shape(0) : 1;
    matrix = {format, values.data(), nullptr, values.shape(axes - 2), values.shape(axes - 1)};
  }

  template <class Left, class Right>
  static void require_same(const Left& left, const Right& right, std::size_t axes) {
    for (std::size_t axis = 0; axis < axes; ++axis) {
      require(left.shape(axis) == right.shape(axis), "values and scales: shapes differ");
    }
  }
};

struct Qkv {
  Floats<1> norm_D;
  Stored query, key, value;
  Floats<1> query_bias, key_bias, value_bias, frequency;
  float rope_scale, eps;

  void check() const {
    const std::size_t D = norm_D.shape(0), X = key.matrix.rows, C = head_dim();
    for (const Stored* part : {&query, &key, &value}) {
      require(part->is_plain_matrix() && part->matrix.columns == D,
              "qkv: weights must be as wide as norm");
      require(part->matrix.format == query.matrix.format ||
                  (!part->matrix.is_tiled() && !query.matrix.is_tiled()),
              "qkv: tiles of one kind, or none");  // hidden is rounded once, for all three
    }
    require(C > 0 && X > 0 && X % C == 0, "qkv: key rows must be whole heads");
    require(query.matrix.rows % X == 0, "qkv: query rows must be a multiple of key rows");
    require(value.matrix.rows == X, "qkv: as many value rows as key rows");
    require(query_bias.shape(0) == query.matrix.rows && key_bias.shape(0) == X &&
                value_bias.shape(0) == X,
            "qkv: one bias for each row");
  }
  std::size_t head_dim() const { return 2 * frequency.shape(0); }
};

struct Out {
  Stored weight_DE;
  Floats<1> bias_D;

  void check() const {
    require(weight_DE.is_plain_matrix() && bias_D.shape(0) == weight_DE.matrix.rows,
            "out: one bias for each row");
  }
};

struct Router {
  Floats<1> norm_D;
  Stored router_ND;
  Floats<1> bias_N;
  std::size_t num_active;
  float eps;

  void check() const {
    const Matrix& matrix = router_ND.matrix;
    require(router_ND.count == 1 && !matrix.is_tiled() && matrix.columns == norm_D.shape(0) &&
                matrix.rows == bias_N.shape(0),
            "router: norm, weight and bias do not fit");
    require(num_active >= 1 && num_active <= matrix.rows,
            "router: more active experts than there are");
  }
};

struct Experts {
  Stored gate_up, gate_up_bias, down, down_bias;
  float limit, alpha;

  std::size_t num_experts() const { return gate_up.count; }
  std::size_t width() const { return gate_up.matrix.columns; }
  std::size_t inner() const { return down.matrix.columns; }

  void check() const {
    const Matrix &up = gate_up.matrix, &low = down.matrix;
    require(down.count == gate_up.count, "experts: gate_up and down are not as many");
    require(up.rows == 2 * low.columns && up.columns == low.rows && up.format == low.format,
            "experts: gate_up and down do not fit");
    require(!up.is_tiled() || up.groups == 2 * ((low.columns + 15) / 16),
            "experts: gates and ups must fill groups of their own");
    require(down.is_row_after_row(), "experts: down is in the order of gates and ups");
    require(gate_up_bias.count == 1 && gate_up_bias.matrix.rows == num_experts() &&
                gate_up_bias.matrix.columns == up.rows,
            "experts: gate_up bias must be [experts, rows]");
    require(down_bias.count == 1 && down_bias.matrix.rows == num_experts() &&
                down_bias.matrix.columns == low.rows,
            "experts: down bias must be [experts, rows]");
  }
};

struct Head {
  Floats<1> norm_D;
  Stored head_VD;
  float eps;

  void check() const {
    require(head_VD.is_plain_matrix() && head_VD.matrix.columns == norm_D.shape(0),
            "head: must be as wide as its norm");
  }
};

// One layer's pool of pages: Y bytes for each head of each.
struct Pages {
  Array<std::uint8_t, 3> bytes_PKY;
  PageLayout layout;

  void check() const {
    require(layout.B > 0, "pages: a page must hold a token");
    require(layout.format != PageFormat::int8 || layout.C <= 512,
            "pages: int8 is for at most 512 channels");  // whose sums of products fit 32 bits
    require(bytes_PKY.shape(2) == layout.bytes, "pages: not as many bytes as a head needs");
  }
};

struct SpanArrays {
  Ints<1> first_Q, count_Q, past_Q;
  Ints<2> page_QP;
  std::int64_t window;

  // An upper bound of the keys that all queries together look at.
  std::size_t keys() const {
    std::size_t sum = 0;
    for (std::size_t q = 0; q < first_Q.shape(0); ++q) {
      const std::int64_t last = std::int64_t{past_Q(q)} + count_Q(q);
      sum += static_cast<std::size_t>(count_Q(q) * std::min(last, window));
    }
    return sum;
  }

  // Every token and page named here exists, and its pages hold a window.
  void check(std::int64_t T, std::int64_t num_pages, std::int64_t B) const {
    const std::size_t Q = first_Q.shape(0);
    const std::int64_t P = page_QP.shape(1);
    require(count_Q.shape(0) == Q && past_Q.shape(0) == Q && page_QP.shape(0) == Q,
            "attend: spans must list each sequence once");
    require(window >= 1, "attend: a query sees at least its own key");
    for (std::size_t q = 0; q < Q; ++q) {
      const std::int64_t first = first_Q(q), count = count_Q(q), past = past_Q(q);
      require(first >= 0 && count >= 0 && past >= 0 && first + count <= T,
              "attend: a span lies outside the step");
      require(count == 0 || past + count <= P * B || P * B >= window,
              "attend: too few pages for the keys a query may see");
    }
    for (std::size_t i = 0; i < page_QP.size(); ++i) {
      require(page_QP.data()[i] >= 0 && page_QP.data()[i] < num_pages, "attend: no such page");
    }
  }
};

}  // namespace ossia
