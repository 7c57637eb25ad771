// The router and the experts.
//
// Version 1: (token, slot) pairs are sorted by expert, so that an expert's weights are read once
//   a step, and widened once for eight tokens. Gate and up rows stand side by side in a tile, so
//   the activation is computed before anything is written. Each thread owns a range of rows in
//   both products; a token's experts are added in ascending order whatever the company.
#include "declare.h"
#include "isa/exp.h"
#include "matmul.h"

namespace ossia::OSSIA_ISA {
namespace {

constexpr std::size_t kTileChannels = kTileRows / 2;

// Keeps the A largest in descending order; equal scores in the order of their index.
void choose(const float* score_N, std::size_t N, std::size_t A, std::int32_t* expert_A,
            float* weight_A) {
  for (std::size_t n = 0; n < N; ++n) {
    std::size_t place = least(n, A);
    if (place == A && !(score_N[n] > weight_A[A - 1])) continue;
    if (place == A) --place;
    for (; place > 0 && score_N[n] > weight_A[place - 1]; --place) {
      weight_A[place] = weight_A[place - 1];
      expert_A[place] = expert_A[place - 1];
    }
    weight_A[place] = score_N[n];
    expert_A[place] = static_cast<std::int32_t>(n);
  }
  float total = 0;
  const float top = weight_A[0];
  for (std::size_t a = 0; a < A; ++a) {
    float lanes[W];
    store(lanes, exp(set1(weight_A[a] - top)));
    weight_A[a] = lanes[0];
    total += weight_A[a];
  }
  for (std::size_t a = 0; a < A; ++a) weight_A[a] /= total;
}

// Items (token * A + slot) by expert, in order of token; those of expert n are
// sorted[first[n]] to before sorted[first[n + 1]].
struct Sorted {
  std::size_t* first;
  std::size_t* item;

  explicit Sorted(const MixExperts& job) : first(job.item), item(job.item + job.N + 1) {}

  void sort(const MixExperts& job) const {
    const std::size_t items = job.T * job.A;
    for (std::size_t n = 0; n <= job.N; ++n) first[n] = 0;
    for (std::size_t i = 0; i < items; ++i) ++first[job.expert_TA[i] + 1];
    for (std::size_t n = 0; n < job.N; ++n) first[n + 1] += first[n];
    // `first` moves on as places are taken, and ends one expert further on
    for (std::size_t i = 0; i < items; ++i) item[first[job.expert_TA[i]]++] = i;
    for (std::size_t n = job.N; n > 0; --n) first[n] = first[n - 1];
    first[0] = 0;
  }
};

// inner[f] = swiglu of one token's tile: gates and ups alternate; both 16 long, filled with zeros.
void activate(const float* total, const MixExperts& job, std::size_t expert, std::size_t row,
              std::size_t rows, float* out) {
  float gate[kTileChannels] = {}, up[kTileChannels] = {};
  for (std::size_t r = 0; r + 1 < rows; r += 2) {
    gate[r / 2] = total[r] + at(job.gate_up_bias_NU, expert, row + r);
    up[r / 2] = total[r + 1] + at(job.gate_up_bias_NU, expert, row + r + 1);
  }
  const Vec limit = set1(job.limit), one = set1(1.0f);
  for (std::size_t f = 0; f < kTileChannels; f += W) {
    const Vec g = min(limit, load(gate + f));
    const Vec u = max(set1(-job.limit), min(limit, load(up + f)));
    const Vec sigmoid = div(one, add(one, exp(mul(set1(-job.alpha), g))));
    store(gate + f, mul(mul(g, sigmoid), add(u, one)));
  }
  if (kArranges && job.down_NDF.format == Format::mxfp4) {
    arrange16(gate, out);
  } else {
    for (std::size_t f = 0; f < rows / 2; ++f) out[f] = gate[f];
  }
}

void gate_up(const MixExperts& job, const float* x_TD, const Sorted& sorted, const Team& team) {
  const Range mine = share(2 * job.F, kTileRows, team);
  for (std::size_t n = 0; n < job.N; ++n) {
    const std::size_t first = sorted.first[n];
    multiply(
        job.gate_up_NUD[n], mine, sorted.first[n + 1] - first,
        [&](std::size_t i) { return x_TD + sorted.item[first + i] / job.A * job.D; },
        [&](std::size_t row, std::size_t rows, std::size_t token, std::size_t tokens,
            const float (*total)[kTileRows]) {
          for (std::size_t t = 0; t < tokens; ++t) {
            float* out = job.inner + (first + token + t) * job.F + row / 2;
            activate(total[t], job, n, row, rows, out);
          }
        });
  }
}

void down(const MixExperts& job, const Sorted& sorted, const Team& team) {
  const Range mine = share(job.D, 8, team);
  for (std::size_t t = 0; t < job.T; ++t) {
    for (std::size_t d = mine.first; d < mine.last; ++d) {
      job.out_TD[t * job.D + d] = job.hidden_TD[t * job.D + d];
    }
  }
  for (std::size_t n = 0; n < job.N; ++n) {
    const std::size_t first = sorted.first[n];
    multiply(
        job.down_NDF[n], mine, sorted.first[n + 1] - first,
        [&](std::size_t i) { return job.inner + (first + i) * job.F; },
        [&](std::size_t row, std::size_t rows, std::size_t token, std::size_t tokens,
            const float (*total)[kTileRows]) {
          for (std::size_t t = 0; t < tokens; ++t) {
            const std::size_t item = sorted.item[first + token + t];
            const float weight = job.weight_TA[item];
            float* out = job.out_TD + item / job.A * job.D + row;
            for (std::size_t r = 0; r < rows; ++r) {
              out[r] += weight * (total[t][r] + at(job.down_bias_ND, n, row + r));
            }
          }
        });
  }
}

}  // namespace

void route(const Route& job, const Team& team) {
  const std::size_t D = job.router_ND.columns, N = job.router_ND.rows;
  const Range mine = share(job.T, 1, team);
  for (std::size_t t = mine.first; t < mine.last; ++t) {
    rms_norm(job.hidden_TD + t * D, job.norm_D, job.eps, job.normed_TD + t * D, D);
  }
  team.meet();
  multiply(
      job.router_ND, share(N, 8, team), job.T, [&](std::size_t t) { return job.normed_TD + t * D; },
      [&](std::size_t row, std::size_t rows, std::size_t token, std::size_t tokens,
          const float (*total)[kTileRows]) {
        for (std::size_t t = 0; t < tokens; ++t) {
          float* out = job.score_TN + (token + t) * N + row;
          for (std::size_t r = 0; r < rows; ++r) out[r] = total[t][r] + job.bias_N[row + r];
        }
      });
  team.meet();
  for (std::size_t t = mine.first; t < mine.last; ++t) {
    choose(job.score_TN + t * N, N, job.A, job.expert_TA + t * job.A, job.weight_TA + t * job.A);
  }
}

void mix_experts(const MixExperts& job, const Team& team) {
  const Sorted sorted(job);
  const bool arranged = kArranges && job.gate_up_NUD.format == Format::mxfp4;
  if (team.index == 0) sorted.sort(job);
  if (arranged) {
    const Range mine = share(job.T * job.D, 16, team);  // D is a multiple of 32
    for (std::size_t i = mine.first; i < mine.last; i += 16) {
      arrange16(job.normed_TD + i, job.arranged_TD + i);
    }
  }
  team.meet();
  gate_up(job, arranged ? job.arranged_TD : job.normed_TD, sorted, team);
  team.meet();
  down(job, sorted, team);
}

}  // namespace ossia::OSSIA_ISA
