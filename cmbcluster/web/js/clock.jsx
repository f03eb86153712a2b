// Everything that ticks: it runs in the browser from the server's times, so no frame is sent for it.
import { useEffect, useReducer, useRef, useState } from "react";

// Server minus browser, seconds. Clock sets it; everything that ticks reads it.
let skew = 0;
const serverNow = () => Date.now() / 1000 + skew;

export function Clock({ now = 0 }) {
  useEffect(() => {
    if (!now) return;
    const found = now - Date.now() / 1000;
    // A frame takes a moment to arrive: only a real difference counts.
    skew = Math.abs(found) > 2 ? found : 0;
    window.dispatchEvent(new Event("cmb:clock"));
  }, [now]);
  return null;
}

const two = (n) => String(n).padStart(2, "0");
const left_words = (s, short) =>
  s <= 0 ? "time is up"
    : s < 900 ? `${Math.floor(s / 60)}:${two(s % 60)}`
    : s < 3600 ? `${Math.floor(s / 60)} min`
    : `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60}${short ? "" : " min"}`;
const spent_words = (s) =>
  s < 100 ? `${Math.floor(s)} s` : s < 3600 ? `${Math.floor(s / 60)} min ${two(Math.floor(s) % 60)} s` : `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;

// Calls tick() at the pace wait() says, at once when the page is seen again.
function usePace(tick, wait, keys) {
  useEffect(() => {
    let t;
    const go = () => { clearTimeout(t); tick(); const ms = wait(); if (ms) t = setTimeout(go, ms); };
    go();
    document.addEventListener("visibilitychange", go);
    window.addEventListener("cmb:clock", go);
    return () => { clearTimeout(t); document.removeEventListener("visibilitychange", go); window.removeEventListener("cmb:clock", go); };
  }, keys);
}

const Icon = ({ name }) => <svg className="i" aria-hidden="true"><use href={`/glyphs.svg#i-${name}`} /></svg>;

export function Countdown({ deadline = 0, short = false, suffix = "", after = "", title = "", icon = false, className = "" }) {
  const left = () => Math.max(0, Math.round(deadline - serverNow()));
  const [s, set] = useState(0);
  usePace(() => {
    const n = left();
    set(n);
    if (title && n > 0) document.title = `${left_words(n, true)} · ${title} · CMBCluster`;
  }, () => { const n = left(); return n <= 0 ? 0 : n < 910 ? 1000 - (Date.now() % 1000) : 1000 * ((n % 60) + 1); }, [deadline, title]);
  useEffect(() => () => { if (title) document.title = `${title} · CMBCluster`; }, [title]);
  if (!deadline) return null;
  const end = new Date(deadline * 1000), tone = s < 300 ? "bad" : s < 900 ? "warn" : "";
  return <time role="timer" className={`clock ${className} ${tone}`} dateTime={end.toISOString()} title={end.toString()}>
    {icon && tone && <Icon name={tone === "bad" ? "warn" : "clock"} />}{left_words(s, short)}{s > 0 && suffix}{after && <small> {after}</small>}</time>;
}

export function Elapsed({ since = 0, className = "" }) {
  const [, again] = useReducer((n) => n + 1, 0);
  usePace(again, () => 1000, [since]);
  if (!since) return null;
  return <span className={`clock ${className}`}>{spent_words(Math.max(0, serverNow() - since))}</span>;
}

// A moment in the reader's own zone. form: time, day ("today at 15:10"), ago, date, full.
const clock_of = (d) => `${two(d.getHours())}:${two(d.getMinutes())}`;
const month = (d, year) => d.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...(year ? { year: "numeric" } : {}) });
function day_of(d, now) {
  const days = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(d).setHours(0, 0, 0, 0)) / 86400000);
  if (days === 0) return "today";
  if (days === 1) return "yesterday";
  if (days === -1) return "tomorrow";
  if (days > 1 && days < 7) return d.toLocaleDateString("en-GB", { weekday: "long" });
  return month(d, d.getFullYear() !== now.getFullYear());
}
function said(d, form) {
  const now = new Date(serverNow() * 1000), ago = (now - d) / 1000;
  if (form === "time") return clock_of(d);
  if (form === "seconds") return `${clock_of(d)}:${two(d.getSeconds())}`;
  if (form === "date") return month(d, true);
  if (form === "ago") return ago < 60 ? "a moment ago" : ago < 3600 ? `${Math.floor(ago / 60)} min ago` : `${day_of(d, now)}, ${clock_of(d)}`;
  if (form === "soon") return day_of(d, now) === "today" ? clock_of(d) : `${day_of(d, now)} ${clock_of(d)}`;
  return `${day_of(d, now)} at ${clock_of(d)}`;
}
export function When({ at = 0, form = "day", before = "", after = "", capital = false, className = "" }) {
  const [, again] = useReducer((n) => n + 1, 0);
  usePace(again, () => (form === "ago" ? 30000 : 0), [at, form]);
  if (!at) return null;
  const d = new Date(at * 1000);
  let text = `${before}${said(d, form)}${after}`;
  if (capital) text = text[0].toUpperCase() + text.slice(1);
  return <time className={className} dateTime={d.toISOString()} title={d.toString()}>{text}</time>;
}

// The banner of the last five minutes, and what screen readers hear at 15, 5 and 1 min.
export function Ending({ items = [], onExtend }) {
  const [, again] = useReducer((n) => n + 1, 0), told = useRef({}), [calm, say] = useState(""), [loud, shout] = useState("");
  usePace(() => {
    for (const e of items) {
      const s = e.deadline - serverNow(), step = s <= 0 ? 0 : s <= 60 ? 60 : s <= 300 ? 300 : s <= 900 ? 900 : 0, key = `${e.id}:${e.deadline}`;
      if (step && (told.current[key] ?? Infinity) > step) {
        told.current[key] = step;
        (step === 900 ? say : shout)(`${e.name} stops in ${step === 60 ? "1 minute" : `${Math.ceil(s / 60)} minutes`}.`);
      }
    }
    again();
  }, () => (items.length ? 5000 : 0), [JSON.stringify(items)]);
  const near = items.filter((e) => { const s = e.deadline - serverNow(); return s > 0 && s <= 300; });
  return <>
    <div className="hush" role="status" aria-live="polite">{calm}</div>
    <div className="hush" role="alert" aria-live="assertive">{loud}</div>
    {near.length > 0 && <section className="ends" aria-label="Time nearly up">{near.map((e) => <div className="note bad" key={e.id}>
      <Icon name="warn" />
      <span className="grow"><b className="b"><a href={e.href}>{e.name}</a> stops in <Countdown deadline={e.deadline} />.</b> {e.can_extend ? "Save your work, or extend it." : "Save your work; the workspace is kept."}</span>
      {e.can_extend && <button className="link" type="button" onClick={() => onExtend && onExtend(e.id)}>Extend</button>}
    </div>)}</section>}
  </>;
}
