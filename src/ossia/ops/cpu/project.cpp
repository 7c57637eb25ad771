// Everything that reads dense weights: embedding, the attention's projections, the output head.
#include <math.h>

#include "declare.h"
#include "matmul.h"
#include "tiles.h"

namespace ossia::OSSIA_ISA {
namespace {

// Activations as the weights want them: floats, and, for tiled weights, rounded.
struct Rows {
  const float* x;
  Quantised rounded;
  std::size_t T;
};

// For each tile of this thread's rows: finish(row, rows, token, tokens, total[token][row]).
template <class Finish>
void each_tile(const Matrix& weight, const Rows& in, const Team& team, const Finish& finish) {
  const std::size_t columns = weight.columns;
  if (weight.is_tiled()) {
    multiply_tiles(weight, in.rounded, in.T, team, finish);
  } else {
    multiply(
        weight, share(weight.rows, 8, team), in.T,
        [&](std::size_t t) { return in.x + t * columns; }, finish);
  }
}

// out[t, row] = total + bias[row]
void project(const Matrix& weight, const float* bias, const Rows& in, float* out,
             const Team& team) {
  const std::size_t width = weight.rows;
  each_tile(weight, in, team,
            [=](std::size_t row, std::size_t rows, std::size_t token, std::size_t tokens,
                const auto& total) {
              for (std::size_t t = 0; t < tokens; ++t) {
                float* to = out + (token + t) * width + row;
                for (std::size_t r = 0; r < rows; ++r) {
                  to[r] = total[t][r] + (bias ? bias[row + r] : 0);
                }
              }
            });
}

void rotate(float* x, std::size_t heads, std::size_t C, const float* cosine, const float* sine) {
  const std::size_t half = C / 2;
  for (std::size_t h = 0; h < heads; ++h, x += C) {
    for (std::size_t i = 0; i < half; ++i) {
      const float left = x[i], right = x[i + half];
      x[i] = left * cosine[i] - right * sine[i];
      x[i + half] = right * cosine[i] + left * sine[i];
    }
  }
}

}  // namespace

void embed(const Embed& job, const Team& team) {
  const std::size_t D = job.table_VD.columns;
  const Range mine = share(job.T, 1, team);
  for (std::size_t t = mine.first; t < mine.last; ++t) {
    const std::size_t row = static_cast<std::size_t>(job.id_T[t]);
    for (std::size_t d = 0; d < D; ++d) job.out_TD[t * D + d] = at(job.table_VD, row, d);
  }
}

void project_qkv(const ProjectQkv& job, const Team& team) {
  const std::size_t D = job.D, C = job.C, half = C / 2;
  const std::size_t E = job.query_ED.rows, X = job.key_XD.rows;
  const Range mine = share(job.T, 1, team);
  for (std::size_t t = mine.first; t < mine.last; ++t) {
    rms_norm(job.hidden_TD + t * D, job.norm_D, job.eps, job.normed_TD + t * D, D);
  }
  const Matrix& query = job.query_ED;
  if (query.is_tiled()) round_rows(job.normed_TD, D, job.T, query.format, job.quantised, mine);
  team.meet();
  const Rows in{job.normed_TD, job.quantised, job.T};
  project(query, job.query_bias_E, in, job.query_TE, team);
  if (shares_freely(job.T, team)) team.meet();  // pieces of work are counted anew
  project(job.key_XD, job.key_bias_X, in, job.key_TX, team);
  if (shares_freely(job.T, team)) team.meet();
  project(job.value_XD, job.value_bias_X, in, job.value_TX, team);
  team.meet();
  for (std::size_t t = mine.first; t < mine.last; ++t) {
    float* cosine = job.turn_TC + t * C;
    float* sine = cosine + half;
    for (std::size_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(job.position_T[t]) * job.frequency[i];
      cosine[i] = ::cosf(angle) * job.rope_scale;
      sine[i] = ::sinf(angle) * job.rope_scale;
    }
    rotate(job.query_TE + t * E, E / C, C, cosine, sine);
    rotate(job.key_TX + t * X, X / C, C, cosine, sine);
  }
}

void project_out(const ProjectOut& job, const Team& team) {
  const std::size_t D = job.weight_DE.rows, E = job.weight_DE.columns;
  if (job.weight_DE.is_tiled()) {
    round_rows(job.attention_TE, E, job.T, job.weight_DE.format, job.quantised,
               share(job.T, 1, team));
    team.meet();
  }
  each_tile(job.weight_DE, {job.attention_TE, job.quantised, job.T}, team,
            [&](std::size_t row, std::size_t rows, std::size_t token, std::size_t tokens,
                const auto& total) {
              for (std::size_t t = 0; t < tokens; ++t) {
                const std::size_t place = (token + t) * D + row;
                for (std::size_t r = 0; r < rows; ++r) {
                  job.out_TD[place + r] =
                      job.hidden_TD[place + r] + (total[t][r] + job.bias_D[row + r]);
                }
              }
            });
}

void unembed(const Unembed& job, const Team& team) {
  const Range mine = share(job.R, 1, team);
  for (std::size_t r = mine.first; r < mine.last; ++r) {
    const float* hidden = job.hidden_TD + static_cast<std::size_t>(job.row_R[r]) * job.D;
    rms_norm(hidden, job.norm_D, job.eps, job.normed_RD + r * job.D, job.D);
  }
  if (job.head_VD.is_tiled()) {
    round_rows(job.normed_RD, job.D, job.R, job.head_VD.format, job.quantised, mine);
  }
  team.meet();
  project(job.head_VD, nullptr, {job.normed_RD, job.quantised, job.R}, job.logits_RV, team);
}

void unembed_ids(const UnembedIds& job, const Team& team) {
  if (team.index == 0) rms_norm(job.hidden_D, job.norm_D, job.eps, job.normed_D, job.D);
  team.meet();
  alignas(64) Tile tile;
  const Range mine = share(job.N, 1, team);
  for (std::size_t n = mine.first; n < mine.last; ++n) {
    tile.x[0] = job.normed_D;
    add_up(job.head_VD, static_cast<std::size_t>(job.id_N[n]), 1, 1, tile);
    job.logits_N[n] = tile.total[0][0];
  }
}

}  // namespace ossia::OSSIA_ISA
