// The router and the experts.
//
// Version 1: (token, slot) pairs are sorted by expert, so that an expert's weights are read once
//   a step, and widened once for eight tokens. Gate and up rows stand side by side in a tile, so
//   the activation is computed before anything is written. Each thread owns a range of rows in
//   both products; a token's experts are added in ascending order whatever the company.
#include "declare.h"
#include "isa/exp.h"
#include "matmul.h"
#include "tiles.h"

namespace ossia::OSSIA_ISA {
namespace {

constexpr std::size_t kTileChannels = kTileRows / 2;
constexpr std::size_t kPartBlocks = 10;  // of rows, that a thread takes at once

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

  explicit Sorted(const Moe& job) : first(job.item), item(job.item + job.N + 1) {}

  void sort(const Moe& job) const {
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

// gate[f] = swiglu of `channels` gates and ups, up to kTileChannels; both hold whole vectors.
void swiglu(float* gate, const float* up, const Moe& job) {
  const Vec limit = set1(job.limit), one = set1(1.0f);
  for (std::size_t f = 0; f < kTileChannels; f += W) {
    const Vec g = min(limit, load(gate + f));
    const Vec u = max(set1(-job.limit), min(limit, load(up + f)));
    const Vec sigmoid = div(one, add(one, exp(mul(set1(-job.alpha), g))));
    store(gate + f, mul(mul(g, sigmoid), add(u, one)));
  }
}

// inner[f] = swiglu of one token's tile, in which gates and ups alternate.
void activate(const float* total, const Moe& job, std::size_t expert, std::size_t row,
              std::size_t rows, float* out) {
  float gate[kTileChannels] = {}, up[kTileChannels] = {};
  for (std::size_t r = 0; r + 1 < rows; r += 2) {
    gate[r / 2] = total[r] + at(job.gate_up_bias_NU, expert, row + r);
    up[r / 2] = total[r + 1] + at(job.gate_up_bias_NU, expert, row + r + 1);
  }
  swiglu(gate, up, job);
  if (kArranges && job.down_NDF.format == Format::mxfp4) {
    arrange16(gate, out);
  } else {
    for (std::size_t f = 0; f < rows / 2; ++f) out[f] = gate[f];
  }
}

void gate_up(const Moe& job, const float* x_TD, const Sorted& sorted, const Team& team) {
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

// out = hidden, in this thread's columns.
void begin_with_hidden(const Moe& job, Range mine) {
  for (std::size_t t = 0; t < job.T; ++t) {
    for (std::size_t d = mine.first; d < mine.last; ++d) {
      job.out_TD[t * job.D + d] = job.hidden_TD[t * job.D + d];
    }
  }
}

// out += weight * (total + bias), for an expert's items from `first` on; up to kTileRows rows.
template <class Totals>
void add_down(const Moe& job, const std::size_t* item, std::size_t n, std::size_t row,
              std::size_t rows, std::size_t tokens, const Totals& total) {
  float bias[kTileRows];
  for (std::size_t r = 0; r < rows; ++r) bias[r] = at(job.down_bias_ND, n, row + r);
  for (std::size_t t = 0; t < tokens; ++t) {
    const float weight = job.weight_TA[item[t]];
    float* out = job.out_TD + item[t] / job.A * job.D + row;
    for (std::size_t r = 0; r < rows; ++r) out[r] += weight * (total[t][r] + bias[r]);
  }
}

void down(const Moe& job, const Sorted& sorted, const Team& team) {
  const Range mine = share(job.D, 8, team);
  begin_with_hidden(job, mine);
  for (std::size_t n = 0; n < job.N; ++n) {
    const std::size_t first = sorted.first[n];
    multiply(
        job.down_NDF[n], mine, sorted.first[n + 1] - first,
        [&](std::size_t i) { return job.inner + (first + i) * job.F; },
        [&](std::size_t row, std::size_t rows, std::size_t token, std::size_t tokens,
            const float (*total)[kTileRows]) {
          add_down(job, sorted.item + first + token, n, row, rows, tokens, total);
        });
  }
}

// An expert's items in passes of equal size: visit(expert, item index of its first, tokens).
template <class Visit>
void each_pass(const Moe& job, const Sorted& sorted, const Visit& visit) {
  for (std::size_t n = 0; n < job.N; ++n) {
    const std::size_t last = sorted.first[n + 1];
    const std::size_t passes = (last - sorted.first[n] + kPassTokens - 1) / kPassTokens;
    for (std::size_t i = sorted.first[n], left = passes; i < last; --left) {
      const std::size_t tokens = (last - i + left - 1) / left;
      visit(n, i, tokens);
      i += tokens;
    }
  }
}

// Rounds the normed rows into the order of the experts, a part on each thread.
void round_outer(const Moe& job, const Sorted& sorted, const Team& team) {
  const Range mine = share(job.T * job.A, 1, team);
  const Matrix& weights = job.gate_up_NUD;
  each_pass(job, sorted, [&](std::size_t, std::size_t first, std::size_t tokens) {
    const Pass pass(job.outer_quantised, weights.blocks(), first, tokens);
    for (std::size_t t = 0; t < tokens; ++t) {
      if (first + t < mine.first || first + t >= mine.last) continue;
      const float* x = job.normed_TD + sorted.item[first + t] / job.A * job.D;
      round_row(x, job.D, weights.format, pass, t);
    }
  });
}

// The passes, each in parts of some blocks of its rows: visit(expert, first item, tokens, blocks).
template <class Visit>
void each_part(const Moe& job, const Sorted& sorted, std::size_t blocks, const Team& team,
               const Visit& visit) {
  if (!shares_freely(job.T, team)) {
    const Range mine = share(blocks, 1, team);
    return each_pass(job, sorted, [&](std::size_t n, std::size_t first, std::size_t tokens) {
      visit(n, first, tokens, mine);
    });
  }
  const std::size_t parts = (blocks + kPartBlocks - 1) / kPartBlocks;
  std::size_t pass = 0, taken = team.take();
  each_pass(job, sorted, [&](std::size_t n, std::size_t first, std::size_t tokens) {
    for (; taken / parts == pass; taken = team.take()) {
      const std::size_t block = taken % parts * kPartBlocks;
      visit(n, first, tokens, Range{block, least(blocks, block + kPartBlocks)});
    }
    ++pass;
  });
}

// Four groups of rows are the gates and ups of 32 channels: one block of what `down` reads.
void gate_up_tiles(const Moe& job, const Sorted& sorted, const Team& team) {
  const std::size_t blocks = job.gate_up_NUD.blocks(), inner_blocks = job.down_NDF.blocks();
  alignas(64) GroupTotals total[2];
  alignas(64) float inner[kPassTokens][kTileBlock];
  const auto visit = [&](std::size_t n, std::size_t first, std::size_t tokens, Range mine) {
    const Matrix weights = job.gate_up_NUD[n];
    const Pass outer(job.outer_quantised, blocks, first, tokens);
    const Pass rounded(job.inner_quantised, inner_blocks, first, tokens);
    for (std::size_t j = mine.first; j < mine.last; ++j) {
      for (std::size_t half = 0; half < 2; ++half) {
        const std::size_t channel = j * kTileBlock + half * kGroup;
        const std::size_t channels = channel < job.F ? least(kGroup, job.F - channel) : 0;
        float gate_bias[kGroup] = {}, up_bias[kGroup] = {};
        for (std::size_t f = 0; f < channels; ++f) {
          gate_bias[f] = at(job.gate_up_bias_NU, n, 2 * (channel + f));
          up_bias[f] = at(job.gate_up_bias_NU, n, 2 * (channel + f) + 1);
        }
        if (channels) {
          dot_group(weights, 2 * (2 * j + half), outer, total[0]);
          dot_group(weights, 2 * (2 * j + half) + 1, outer, total[1]);
        }
        for (std::size_t t = 0; t < tokens; ++t) {
          float *gate = total[0][t], *up = total[1][t], *out = inner[t] + half * kGroup;
          for (std::size_t f = 0; f < kGroup; ++f) {
            gate[f] += gate_bias[f];
            up[f] += up_bias[f];
          }
          if (channels) swiglu(gate, up, job);
          for (std::size_t f = 0; f < kGroup; ++f) out[f] = f < channels ? gate[f] : 0;
        }
      }
      for (std::size_t t = 0; t < tokens; ++t) {
        round_block(inner[t], job.down_NDF.format, rounded, j, t);
      }
    }
  };
  each_part(job, sorted, inner_blocks, team, visit);
}

void down_tiles(const Moe& job, const Sorted& sorted, const Team& team) {
  const std::size_t blocks = job.down_NDF.blocks(), groups = job.down_NDF.groups;
  alignas(64) GroupTotals total;
  // a token's experts are added one after the other, so a row stays with one thread
  const auto add_rows = [&](Range mine) {
    begin_with_hidden(job, {least(job.D, mine.first * kGroup), least(job.D, mine.last * kGroup)});
    each_pass(job, sorted, [&](std::size_t n, std::size_t first, std::size_t tokens) {
      const Matrix weights = job.down_NDF[n];
      const Pass pass(job.inner_quantised, blocks, first, tokens);
      for (std::size_t group = mine.first; group < mine.last; ++group) {
        const std::size_t row = group * kGroup;
        dot_group(weights, group, pass, total);
        add_down(job, sorted.item + first, n, row, least(kGroup, job.D - row), tokens, total);
      }
    });
  };
  if (!shares_freely(job.T, team)) return add_rows(share(groups, 1, team));
  const std::size_t units = (groups + kPartBlocks - 1) / kPartBlocks;
  each_unit(units, job.T, team, [&](std::size_t unit) {
    add_rows({unit * kPartBlocks, least(groups, (unit + 1) * kPartBlocks)});
  });
}

void moe_tiles(const Moe& job, const Sorted& sorted, const Team& team) {
  round_outer(job, sorted, team);
  team.meet();
  gate_up_tiles(job, sorted, team);
  team.meet();
  down_tiles(job, sorted, team);
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

void moe(const Moe& job, const Team& team) {
  const Sorted sorted(job);
  const bool arranged = kArranges && job.gate_up_NUD.format == Format::mxfp4;
  if (team.index == 0) sorted.sort(job);
  if (job.gate_up_NUD.is_tiled()) {
    team.meet();
    return moe_tiles(job, sorted, team);
  }
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
