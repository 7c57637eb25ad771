// Checks the arrays of a call, drops the GIL, runs the kernel.
#pragma once
#include <mutex>
#include <stdexcept>
#include <string>

#include "handles.h"
#include "pool.h"

namespace ossia {

// The kernels of one instruction set on the threads of one pool.
class Machine {
 public:
  Machine(std::size_t threads, const std::string& isa, std::size_t alone_below)
      : pool_(threads), kernels_(find(isa)), alone_below_(alone_below) {}

  std::size_t threads() const { return pool_.threads(); }
  const char* isa() const { return kernels_.isa; }

  // From stored weights to tiles, which are written. False: a value is not finite, or too large.
  bool repack(const Stored& source, const Stored& target, bool gates_and_ups) {
    require(target.matrix.is_tiled() && !source.matrix.is_tiled() && target.count == source.count &&
                target.matrix.rows == source.matrix.rows &&
                target.matrix.columns == source.matrix.columns,
            "repack: the tiles are of another shape");
    require(source.matrix.format != Format::mxfp4 || target.matrix.format == Format::tiled_mxfp4,
            "repack: MXFP4 becomes tiles of MXFP4 only");
    bool is_finite = true;
    const std::size_t numbers = source.count * source.matrix.rows * source.matrix.columns;
    run(kernels_.repack, numbers, 0, [&](std::byte*) {
      return Repack{source.matrix, target.matrix, source.count, gates_and_ups, &is_finite};
    });
    return is_finite;
  }

  void embed(Ints<1> id_T, const Stored& table, Array<float, 2> out_TD) {
    const Matrix& matrix = table.matrix;
    const std::size_t T = id_T.shape(0);
    require(out_TD.shape(0) == T && out_TD.shape(1) == matrix.columns && table.count == 1 &&
                matrix.format != Format::mxfp4 && !matrix.is_tiled(),
            "embed: table and out do not fit");
    for (std::size_t t = 0; t < T; ++t) {
      require(id_T(t) >= 0 && static_cast<std::size_t>(id_T(t)) < matrix.rows, "embed: no such id");
    }
    run(kernels_.embed, T * matrix.columns, 0,
        [&](std::byte*) { return Embed{id_T.data(), matrix, out_TD.data(), T}; });
  }

  void project_qkv(Floats<2> hidden_TD, Ints<1> position_T, const Qkv& qkv,
                   Array<float, 2> query_TE, Array<float, 2> key_TX, Array<float, 2> value_TX) {
    const std::size_t T = hidden_TD.shape(0), D = hidden_TD.shape(1), C = qkv.head_dim();
    require(qkv.norm_D.shape(0) == D, "project_qkv: hidden is not as wide as the weights");
    require(position_T.shape(0) == T, "project_qkv: one position for each token");
    require_shape(query_TE, T, qkv.query.matrix.rows);
    require_shape(key_TX, T, qkv.key.matrix.rows);
    require_shape(value_TX, T, qkv.key.matrix.rows);
    const std::size_t rows = qkv.query.matrix.rows + 2 * qkv.key.matrix.rows;
    run(kernels_.project_qkv, T * D * rows,
        aligned(T * (D + C) * sizeof(float)) + Quantised::bytes(T, D), [&](std::byte* scratch) {
          float* normed_TD = reinterpret_cast<float*>(scratch);
          const auto quantised =
              Quantised::in(scratch + aligned(T * (D + C) * sizeof(float)), T, D);
          return ProjectQkv{hidden_TD.data(),
                            position_T.data(),
                            qkv.norm_D.data(),
                            qkv.eps,
                            qkv.query.matrix,
                            qkv.key.matrix,
                            qkv.value.matrix,
                            qkv.query_bias.data(),
                            qkv.key_bias.data(),
                            qkv.value_bias.data(),
                            qkv.frequency.data(),
                            qkv.rope_scale,
                            normed_TD,
                            normed_TD + T * D,
                            quantised,
                            query_TE.data(),
                            key_TX.data(),
                            value_TX.data(),
                            T,
                            D,
                            C};
        });
  }

  void attend(Floats<4> query_TKGC, Floats<3> key_TKC, Floats<3> value_TKC, const SpanArrays& spans,
              Pages& pages, Floats<2> sink_KG, Array<float, 2> attention_TE) {
    const std::size_t T = query_TKGC.shape(0), K = query_TKGC.shape(1), G = query_TKGC.shape(2),
                      C = query_TKGC.shape(3);
    for (const auto& part : {key_TKC, value_TKC}) {
      require(part.shape(0) == T && part.shape(1) == K && part.shape(2) == C,
              "attend: keys and values must be [T,K,C] of the query");
    }
    require(sink_KG.shape(0) == K && sink_KG.shape(1) == G, "attend: one sink for each query head");
    require(pages.bytes_PKY.shape(1) == K && pages.layout.C == C, "attend: pages of another shape");
    require_shape(attention_TE, T, K * G * C);
    spans.check(T, pages.bytes_PKY.shape(0), pages.layout.B);
    Attend job{query_TKGC.data(),
               key_TKC.data(),
               value_TKC.data(),
               spans.first_Q.data(),
               spans.count_Q.data(),
               spans.past_Q.data(),
               spans.page_QP.data(),
               sink_KG.data(),
               reinterpret_cast<std::byte*>(pages.bytes_PKY.data()),
               pages.layout,
               AttendPlan{},
               nullptr,
               attention_TE.data(),
               spans.first_Q.shape(0),
               spans.page_QP.shape(1),
               K,
               G,
               static_cast<std::size_t>(spans.window)};
    job.plan = plan_attend(job, threads());
    const std::size_t bytes = attend_scratch(job, threads(), 0).bytes;
    run(kernels_.attend, spans.keys() * K * G * C * 2, bytes, [&](std::byte* scratch) {
      job.scratch = scratch;
      std::fill_n(scratch, sizeof(std::uint32_t), std::byte{0});
      return job;
    });
  }

  void project_out(Floats<2> hidden_TD, Floats<2> attention_TE, const Out& out,
                   Array<float, 2> out_TD) {
    const std::size_t T = hidden_TD.shape(0);
    const Matrix& weight = out.weight_DE.matrix;
    require(attention_TE.shape(0) == T && attention_TE.shape(1) == weight.columns,
            "project_out: attention does not fit the weights");
    require(hidden_TD.shape(1) == weight.rows, "project_out: hidden does not fit the weights");
    require_shape(out_TD, T, weight.rows);
    run(kernels_.project_out, T * weight.rows * weight.columns, Quantised::bytes(T, weight.columns),
        [&](std::byte* scratch) {
          return ProjectOut{hidden_TD.data(),
                            attention_TE.data(),
                            weight,
                            out.bias_D.data(),
                            Quantised::in(scratch, T, weight.columns),
                            out_TD.data(),
                            T};
        });
  }

  void route(Floats<2> hidden_TD, const Router& router, Array<float, 2> normed_TD,
             Array<std::int32_t, 2> expert_TA, Array<float, 2> weight_TA) {
    const std::size_t T = hidden_TD.shape(0), D = router.norm_D.shape(0), A = router.num_active;
    require(hidden_TD.shape(1) == D, "route: hidden is not as wide as the router");
    require_shape(normed_TD, T, D);
    require_shape(expert_TA, T, A);
    require_shape(weight_TA, T, A);
    const std::size_t floats = T * router.bias_N.shape(0);
    run(kernels_.route, floats * D, floats * sizeof(float), [&](std::byte* scratch) {
      return Route{hidden_TD.data(),
                   router.norm_D.data(),
                   router.eps,
                   router.router_ND.matrix,
                   router.bias_N.data(),
                   reinterpret_cast<float*>(scratch),
                   normed_TD.data(),
                   expert_TA.data(),
                   weight_TA.data(),
                   T,
                   A};
    });
  }

  void moe(Floats<2> hidden_TD, Floats<2> normed_TD, Ints<2> expert_TA, Floats<2> weight_TA,
           const Experts& experts, Array<float, 2> out_TD) {
    const std::size_t T = hidden_TD.shape(0), A = expert_TA.shape(1), N = experts.num_experts(),
                      D = experts.width(), F = experts.inner();
    require_shape(hidden_TD, T, D);
    require_shape(normed_TD, T, D);
    require_shape(out_TD, T, D);
    require_shape(expert_TA, T, A);
    require_shape(weight_TA, T, A);
    for (std::size_t i = 0; i < expert_TA.size(); ++i) {
      const std::int32_t expert = expert_TA.data()[i];
      require(expert >= 0 && static_cast<std::size_t>(expert) < N, "moe: no such expert");
    }
    const bool tiled = experts.gate_up.matrix.is_tiled();
    const std::size_t items = T * A;
    const std::size_t item_bytes = aligned((items + N + 1) * sizeof(std::size_t));
    const std::size_t first = aligned(tiled ? Quantised::bytes(items, D) : items * F * 4);
    const std::size_t second = tiled ? Quantised::bytes(items, F) : T * D * 4;
    run(kernels_.moe, 3 * items * D * F, item_bytes + first + second, [&](std::byte* scratch) {
      auto* item = reinterpret_cast<std::size_t*>(scratch);
      std::byte *one = scratch + item_bytes, *two = one + first;
      return Moe{hidden_TD.data(),
                 normed_TD.data(),
                 expert_TA.data(),
                 weight_TA.data(),
                 experts.gate_up.matrix,
                 experts.down.matrix,
                 experts.gate_up_bias.matrix,
                 experts.down_bias.matrix,
                 experts.limit,
                 experts.alpha,
                 item,
                 reinterpret_cast<float*>(one),
                 reinterpret_cast<float*>(two),
                 Quantised::in(one, items, D),
                 Quantised::in(two, items, F),
                 out_TD.data(),
                 T,
                 A,
                 N,
                 D,
                 F};
    });
  }

  void unembed(Floats<2> hidden_TD, Ints<1> row_R, const Head& head, Array<float, 2> logits_RV) {
    const std::size_t R = row_R.shape(0), D = head.norm_D.shape(0);
    require(hidden_TD.shape(1) == D, "unembed: hidden is not as wide as the head");
    require_shape(logits_RV, R, head.head_VD.matrix.rows);
    for (std::size_t r = 0; r < R; ++r) {
      require(row_R(r) >= 0 && static_cast<std::size_t>(row_R(r)) < hidden_TD.shape(0),
              "unembed: no such row");
    }
    const std::size_t products = R * D * head.head_VD.matrix.rows;
    const std::size_t normed = aligned(R * D * sizeof(float));
    run(kernels_.unembed, products, normed + Quantised::bytes(R, D), [&](std::byte* scratch) {
      return Unembed{hidden_TD.data(),
                     row_R.data(),
                     head.norm_D.data(),
                     head.eps,
                     head.head_VD.matrix,
                     reinterpret_cast<float*>(scratch),
                     Quantised::in(scratch + normed, R, D),
                     logits_RV.data(),
                     R,
                     D};
    });
  }

  void unembed_ids(Floats<2> hidden_TD, std::size_t row, Ints<1> id_N, const Head& head,
                   Array<float, 1> logits_N) {
    const std::size_t N = id_N.shape(0), D = head.norm_D.shape(0);
    const Matrix& matrix = head.head_VD.matrix;
    require(hidden_TD.shape(1) == D && row < hidden_TD.shape(0) && !matrix.is_tiled(),
            "unembed_ids: hidden and head do not fit");
    require(logits_N.shape(0) == N, "unembed_ids: one logit for each id");
    for (std::size_t n = 0; n < N; ++n) {
      require(id_N(n) >= 0 && static_cast<std::size_t>(id_N(n)) < matrix.rows,
              "unembed_ids: no such id");
    }
    run(kernels_.unembed_ids, N * D, D * sizeof(float), [&](std::byte* scratch) {
      return UnembedIds{hidden_TD.data() + row * D,
                        id_N.data(),
                        head.norm_D.data(),
                        head.eps,
                        matrix,
                        reinterpret_cast<float*>(scratch),
                        logits_N.data(),
                        N,
                        D};
    });
  }

 private:
  // A size after which the next array begins on a cache line.
  static constexpr std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

  template <typename T>
  static void require_shape(const Array<T, 2>& array, std::size_t rows, std::size_t columns) {
    require(array.shape(0) == rows && array.shape(1) == columns,
            "an array does not have the shape that the others ask for");
  }

  static const Kernels& find(const std::string& isa) {
    for (const Kernels* const* one = kernels_here(); *one; ++one) {
      if (isa == (*one)->isa) return **one;
    }
    throw nb::value_error("this CPU does not run that instruction set");
  }

  // make(scratch) -> job. Work of fewer products than `alone_below_` wakes nobody.
  template <class Job, class Make>
  void run(void (*kernel)(const Job&, const Team&), std::size_t products, std::size_t bytes,
           const Make& make) {
    if (!pool_.is_alive()) {
      throw std::runtime_error("these kernels' threads stayed behind in a fork; make new CpuOps");
    }
    nb::gil_scoped_release free_python;
    const std::lock_guard turn(pool_.turn());
    const Job job = make(pool_.scratch(bytes));
    if (products < alone_below_) {
      kernel(job, Team{nullptr, 0, 1});
    } else {
      pool_.run(kernel, job);
    }
  }

  Pool pool_;
  const Kernels& kernels_;
  std::size_t alone_below_;
};

}  // namespace ossia
