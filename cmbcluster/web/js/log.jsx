// The log of an environment: fetched as lines of JSON from our own address, followed, searched, wrapped, paused.
import { useEffect, useMemo, useRef, useState } from "react";

const KEPT = 5000;  // lines held in the page; the download has them all
const BAD = /\b(error|exception|traceback|critical|fatal|killed|panic)\b/i, WARN = /\b(warn(ing)?|deprecat\w*|retry(ing)?)\b/i, DIM = /\b(debug|trace)\b/i;
const tone = (t) => (BAD.test(t) ? "e" : WARN.test(t) ? "w" : DIM.test(t) ? "d" : "");
// Colours of terminals say nothing here and would show as noise.
const plain = (t) => t.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "");
const two = (n) => String(n).padStart(2, "0");
const hour = (at) => { if (!at) return ""; const d = new Date(typeof at === "number" ? at * 1000 : at); return isNaN(d) ? "" : `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; };
const Icon = ({ name }) => <svg className="i" aria-hidden="true"><use href={`/glyphs.svg#i-${name}`} /></svg>;

function useLines(url, follow, again) {
  const [lines, set] = useState([]), [state, say] = useState("loading");
  useEffect(() => {
    if (!url) return;
    const stop = new AbortController(), fresh = [];
    let flush = 0, next = null, count = 0, delay = 500, retry = 0, first = true;
    // A new reading replaces what is shown with its first lines, so nothing flickers in between.
    const show = () => { flush = 0; const batch = fresh.splice(0), anew = first; first = false; set((l) => [...(anew ? [] : l), ...batch].slice(-KEPT)); };
    const take = (row) => {
      if (!row) return;
      try { const l = JSON.parse(row); next = l.offset; fresh.push({ n: count++, at: hour(l.at), text: plain(l.text), tone: tone(l.text) }); } catch { return; }
      if (!flush) flush = setTimeout(show, 60);
    };
    const read = async () => {
      try {
        const answer = await fetch(`${url}${url.includes("?") ? "&" : "?"}offset=${next ?? -65536}&follow=${follow ? 1 : 0}`, { signal: stop.signal, headers: { Accept: "application/x-ndjson" } });
        if (!answer.ok) { say("unavailable"); return; }
        say("live"); delay = 500;
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          rest += value;
          const rows = rest.split("\n");
          rest = rows.pop();
          rows.forEach(take);
        }
        take(rest);
        say("ended");
      } catch (e) {
        if (stop.signal.aborted) return;
        say("lost");
        retry = setTimeout(read, (delay = Math.min(8000, delay * 2)));
      }
    };
    say("loading"); read();
    return () => { stop.abort(); clearTimeout(flush); clearTimeout(retry); };
  }, [url, follow, again]);
  return [lines, state];
}

function Marked({ text, word }) {
  if (!word) return text;
  const out = [], low = text.toLowerCase();
  let from = 0, at;
  while ((at = low.indexOf(word, from)) >= 0) { out.push(text.slice(from, at), <mark key={at}>{text.slice(at, at + word.length)}</mark>); from = at + word.length; }
  out.push(text.slice(from));
  return out;
}

const times = (text, word) => text.toLowerCase().split(word).length - 1;
const SAYS = { loading: "reading", ended: "ended", lost: "connection lost, trying again", unavailable: "cannot be read at the moment" };

export function LogView({ url = "", download = "", follow = true, again = "", tall = false, title = "Logs", empty = "Nothing has been written yet." }) {
  const [lines, state] = useLines(url, follow, again), [query, ask] = useState(""), [mark, step] = useState(0), [wrap, setWrap] = useState(true), [held, hold] = useState(0), box = useRef(null), own = useRef(0);
  // Two of these can be on one page, and whoever hears them only has to tell them apart.
  const which = title === "Logs" ? { seek: "Search logs", lines: "Log lines", all: "Download the whole log" } : { seek: `Search logs: ${title}`, lines: `Log lines: ${title}`, all: `Download the whole log: ${title}` };
  const paused = held > 0, word = query.trim().toLowerCase();
  const hits = useMemo(() => (word ? lines.reduce((sum, l) => sum + times(l.text, word), 0) : 0), [word, lines]);
  const here = Math.min(mark, Math.max(0, hits - 1));
  // It can be followed, yet the reading has ended with nothing: no run has begun.
  const before = follow && state === "ended" && !lines.length;
  const total = lines.length ? lines[lines.length - 1].n + 1 : 0;
  const bottom = () => { const b = box.current; if (b) { own.current = Date.now(); b.scrollTop = b.scrollHeight; } };
  useEffect(() => { if (!paused && !word) bottom(); }, [lines, paused, wrap]);
  // The marks are drawn line by line; which of them is the chosen one is known only to the page as a whole.
  useEffect(() => { if (word) box.current?.querySelectorAll("mark").forEach((m, k) => m.classList.toggle("mark-now", k === here)); }, [word, here, lines]);
  useEffect(() => {
    const b = box.current, m = word && b?.querySelectorAll("mark")[here];
    if (!m) return;
    own.current = Date.now();
    b.scrollTop += m.getBoundingClientRect().top - b.getBoundingClientRect().top - b.clientHeight / 2;
  }, [word, here, hits > 0]);
  const seek = (text) => { ask(text); step(0); };
  const onSeekKey = (e) => {
    if (e.key === "Escape" && query) { e.stopPropagation(); seek(""); }
    if (e.key === "Enter" && hits) { e.preventDefault(); step((here + (e.shiftKey ? hits - 1 : 1)) % hits); }
  };
  const onScroll = () => {
    const b = box.current, low = b.scrollHeight - b.scrollTop - b.clientHeight < 24;
    if (Date.now() - own.current < 120) return;
    if (low) hold(0); else if (!paused && follow) hold(total || 1);
  };
  const live = state === "live" && follow;
  return <section className="card" aria-label={title}>
    <header><h2>{title}</h2>
      {live && !paused && <span className="tag ok"><svg className="g" aria-hidden="true"><use href="/glyphs.svg#g-running" /></svg>Live</span>}
      {live && paused && <span className="tag">Paused</span>}
      {!live && SAYS[state] && <span className="sm three">{before ? "begins when it starts" : SAYS[state]}</span>}
      <div className="row gap4 push">
        <div className={`seek tight ${tall ? "" : "hide-s"}`}><Icon name="search" /><input className="inp" data-search="" aria-label={which.seek} placeholder="Search logs" value={query} title="Enter for the next match, Shift and Enter for the one before" onChange={(e) => seek(e.target.value)} onKeyDown={onSeekKey} /></div>
        {word && <span className={`xs three num nowrap ${tall ? "" : "hide-s"}`} role="status">{hits ? `${here + 1} of ${hits}` : "no match"}</span>}
        {follow && <button className="btn sm sq flat" type="button" aria-pressed={paused} aria-label={paused ? "Follow again" : "Pause following"} title={paused ? "Follow again" : "Pause following"} onClick={() => hold(paused ? 0 : total || 1)}><Icon name={paused ? "play" : "pause"} /></button>}
        <button className="btn sm sq flat hide-s" type="button" aria-pressed={wrap} aria-label="Wrap long lines" title="Wrap long lines" onClick={() => setWrap((w) => !w)}><Icon name="wrap" /></button>
        {download && <a className="btn sm sq flat" href={download} download aria-label={which.all} title={which.all}><Icon name="download" /></a>}
      </div></header>
    <div className="log-box">
      <div className={`log ${tall ? "tall" : "short"} ${wrap ? "" : "plain"}`} role="log" aria-label={which.lines} aria-live={word || paused ? "off" : "polite"} tabIndex={0} ref={box} onScroll={onScroll}>
        {lines.map((l) => <p key={l.n} className={l.tone}><time>{l.at}</time><span><Marked text={l.text} word={word} /></span></p>)}
        {!lines.length && <p className="d"><time /><span>{state === "loading" ? "Reading the log…" : state === "unavailable" ? "The log cannot be read at the moment." : before ? "The log begins when it starts." : empty}</span></p>}
      </div>
      {paused && total > held && <button className="btn sm log-more" type="button" onClick={() => { hold(0); bottom(); }}>{total - held} new {total - held === 1 ? "line" : "lines"}</button>}
    </div>
  </section>;
}
