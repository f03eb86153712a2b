// Resource use since the page was opened. sample: {at, cpu, memory, received, sent}, null where nothing was measured: a gap, never a zero.
import { useEffect, useReducer } from "react";

const KEPT = 600, GAP = 12, LATE = 2.5;  // samples held; seconds without one that leave a gap, where they do not come more rarely
const series = new Map();
const two = (n) => String(n).padStart(2, "0");
const hour = (t) => { const d = new Date(t * 1000); return `${two(d.getHours())}:${two(d.getMinutes())}`; };
const top_of = (v) => { for (let p = 1; ; p *= 10) for (const k of [1, 2, 4, 5]) if (k * p >= v) return k * p; };

function lines(rows, key, x, y) {
  const out = [], seen = rows.filter((r) => r[key] != null), steps = seen.slice(1).map((r, n) => r.at - seen[n].at);
  const gap = steps.length ? Math.max(GAP, LATE * Math.min(...steps)) : GAP;
  let run = [], before = 0;
  for (const r of rows) {
    if (r[key] == null || (before && r.at - before > gap)) { if (run.length) out.push(run); run = []; }
    if (r[key] != null) run.push([x(r.at), y(r[key])]);
    before = r.at;
  }
  if (run.length) out.push(run);
  return out;
}

function Chart({ rows, keys, top, limit, label }) {
  const w = 236, h = 116, x0 = 24, x1 = w - 6, y0 = h - 20, y1 = 12, t0 = rows[0].at, t1 = Math.max(rows[rows.length - 1].at, t0 + 60);
  const x = (t) => x0 + ((x1 - x0) * (t - t0)) / (t1 - t0), y = (v) => y0 - ((y0 - y1) * Math.min(v, top)) / top;
  const short = (v) => (v >= 1000 ? `${v / 1000}k` : `${+v.toFixed(1)}`);
  return <svg className="chart" viewBox={`0 0 ${w} ${h}`} role="img" aria-label={label}>
    {[0, 0.5, 1].map((f) => f * (limit || top)).map((v) => <g key={v}><path d={`M${x0} ${y(v)}H${x1}`} stroke="var(--grid)" /><text x={x0 - 6} y={y(v) + 4} textAnchor="end">{short(v)}</text></g>)}
    {limit > 0 && <><path d={`M${x0} ${y(limit)}H${x1}`} stroke="var(--ink-3)" strokeDasharray="2 3" /><text x={x1} y={y(limit) - 4} textAnchor="end">limit</text></>}
    {keys.map(([key, colour], k) => lines(rows, key, x, y).map((run, n) => {
      const d = "M" + (run.length > 1 ? run : [run[0], [run[0][0] + 1, run[0][1]]]).map((p) => `${p[0].toFixed(1)} ${p[1].toFixed(1)}`).join("L");
      return <g key={`${key}${n}`}>{k === 0 && run.length > 1 && <path d={`${d}L${run[run.length - 1][0].toFixed(1)} ${y0}L${run[0][0].toFixed(1)} ${y0}Z`} fill={`var(--${colour})`} opacity=".09" />}<path d={d} fill="none" stroke={`var(--${colour})`} strokeWidth="1.6" strokeLinejoin="round" strokeLinecap="round" /></g>;
    }))}
    <text x={x0} y={h - 4}>{hour(t0)}</text><text x={x1} y={h - 4} textAnchor="end">{hour(t1)}</text>
  </svg>;
}

export function Usage({ name = "", sample = null, cpuLimit = 1, memoryLimit = 1, texts = {} }) {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    if (!sample || !sample.at) return;
    const rows = series.get(name) || [];
    if (!rows.length || rows[rows.length - 1].at < sample.at) { rows.push(sample); series.set(name, rows.slice(-KEPT)); again(); }
  }, [name, sample && sample.at]);
  const rows = series.get(name) || [], most = Math.max(0.1, ...rows.flatMap((r) => [r.received ?? 0, r.sent ?? 0]));
  // A figure that would round to nothing is said in the next smaller unit.
  const held = rows.length ? rows[rows.length - 1].memory : null, memory = texts.memory && held != null && held < 0.05 ? `${Math.round(held * 1024)} MiB` : texts.memory;
  // What no sample has is still to come, or, where there are others, not measured by this runtime.
  const has = (key) => rows.some((r) => r[key] != null), none = (word) => <div className="chart-empty">{word}</div>;
  const part = (title, figure, of, chart) => <div><div className="row sm three">{title}</div><div className="fig">{figure || "–"} <small>{of}</small></div><div className="mt8">{chart}</div></div>;
  return <><div className="tiles trio">
    {part("CPU", texts.cpu, texts.cpu_of, has("cpu") ? <Chart rows={rows} keys={[["cpu", "c1"]]} top={cpuLimit * 1.1} limit={cpuLimit} label={`CPU in use: ${texts.cpu || "not measured"} ${texts.cpu_of || ""}`} /> : none("Measuring…"))}
    {part("Memory", memory, texts.memory_of, has("memory") ? <Chart rows={rows} keys={[["memory", "c1"]]} top={memoryLimit * 1.1} limit={memoryLimit} label={`Memory in use: ${memory || "not measured"} ${texts.memory_of || ""}`} /> : none("Measuring…"))}
    {part("Network", texts.received, <>{texts.received && "MB/s in"}{texts.sent && <> · <span style={{ color: "var(--c2)" }}>{texts.sent} out</span></>}</>, has("received") ? <Chart rows={rows} keys={[["received", "c1"], ["sent", "c2"]]} top={top_of(most)} limit={0} label={`Network: ${texts.received || "not measured"} MB/s in, ${texts.sent || "not measured"} out`} /> : none(rows.filter((r) => r.memory != null).length > 1 ? "Not measured here" : "Measuring…"))}
  </div>
    {rows.length > 1 && <details className="as-table foot"><summary>See as table</summary><table className="tbl"><thead><tr><th>Time</th><th className="r">CPU</th><th className="r">Memory, GiB</th><th className="r">In, MB/s</th><th className="r">Out, MB/s</th></tr></thead><tbody>
      {rows.slice(-12).reverse().map((r) => <tr key={r.at}><td className="num">{hour(r.at)}:{two(new Date(r.at * 1000).getSeconds())}</td>{["cpu", "memory", "received", "sent"].map((k) => <td className="r num" key={k}>{r[k] == null ? "–" : r[k].toFixed(2)}</td>)}</tr>)}</tbody></table></details>}
  </>;
}
