// Whether the person is still there: told to the server now and then, a warning before the idle end, and what was typed is kept.
import { useEffect, useRef, useState } from "react";

const TELL_EVERY_MS = 60000, WARN_SECONDS = 120, KEPT = "cmb.typed", KEPT_MS = 30 * 60000;

// ---- what was typed, for when somebody has to sign in again in the middle of it ----

let typed = null;
// With or without the slash that the server puts behind it.
const here = () => location.pathname.replace(/\/+$/, "") || "/";
const fields = (form) => [...form.elements].filter((el) => el.name && el.matches("input:not([type=password]):not([type=hidden]):not([type=file]), textarea, select"));
const value_of = (el) => (el.type === "checkbox" || el.type === "radio" ? el.checked : el.value);
const remember = (e) => {
  const form = e.target.form;
  if (form?.closest("main, [role=dialog]")) typed = { path: here(), at: Date.now(), values: fields(form).map((el) => [el.name, el.value, value_of(el)]) };
};
const keep = () => { try { if (typed) sessionStorage.setItem(KEPT, JSON.stringify(typed)); } catch { /* then it is typed again */ } typed = null; };

// Puts it back into fields of the same names as they appear, unless they hold something already.
function bring_back() {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem(KEPT)); } catch { return; }
  if (!kept || Date.now() - kept.at > KEPT_MS) { sessionStorage.removeItem(KEPT); return; }
  let left = kept.values;
  const fill = () => {
    if (here() !== kept.path) return;
    left = left.filter(([name, own, value]) => {
      const all = [...document.getElementsByName(name)], el = all.length > 1 ? all.find((one) => one.value === own) : all[0];
      if (!el) return true;
      if (typeof value === "boolean") { if (el.checked !== value) el.click(); } else if (el.value !== value) {
        // Past what React remembers of the field, so that it takes note of the change.
        Object.getOwnPropertyDescriptor(Object.getPrototypeOf(el), "value").set.call(el, value);
        el.dispatchEvent(new Event("input", { bubbles: true }));
      }
      return false;
    });
    if (!left.length) { sessionStorage.removeItem(KEPT); seen.disconnect(); }
  };
  const seen = new MutationObserver(fill);
  seen.observe(document.body, { childList: true, subtree: true });
  fill();
  return () => seen.disconnect();
}

// ---- the session's end ----

const ask = async (method) => {
  const answer = await fetch("/auth/standing", { method, cache: "no-store", credentials: "same-origin" });
  if (answer.status === 401) return { over: true };
  if (!answer.ok) throw new Error(answer.status);
  const told = await answer.json();
  return { ends: Date.now() + told.ends_in_seconds * 1000, latest: Date.now() + told.latest_in_seconds * 1000 };
};
const minutes = (ms) => { const s = Math.max(0, Math.ceil(ms / 1000)); return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`; };

export function Standing({ who = "" }) {
  const [left, show] = useState(0), [last, is_last] = useState(false), state = useRef({ ends: 0, latest: 0, told: 0, timer: 0 }), was = useRef("");

  useEffect(() => {
    if (was.current === "in" && who === "out") keep();
    was.current = who || was.current;
    if (who !== "in") { show(0); return; }
    const s = state.current, undo = bring_back();
    let gone = false;
    const plan = (ms) => { clearTimeout(s.timer); if (!gone) s.timer = setTimeout(look, ms); };
    const heard = (told) => {
      if (gone) return;
      if (told.over) { keep(); location.assign(`/?ended=1&next=${encodeURIComponent(here() + location.search)}`); return; }
      Object.assign(s, told);
      const ms = s.ends - Date.now(), near = ms <= WARN_SECONDS * 1000;
      show(near ? ms : 0);
      is_last(s.latest - s.ends < 1000);
      plan(near ? Math.max(250, Math.min(1000, ms)) : ms - WARN_SECONDS * 1000);
    };
    // Other tabs may have been busy: the server is asked before anything is said, and again at the end.
    const look = async () => {
      const ms = s.ends - Date.now();
      if (ms > 1000 && ms < WARN_SECONDS * 1000 - 1500 && Math.round(ms / 1000) % 15) { show(ms); plan(1000); return; }
      try { heard(await ask("GET")); } catch { plan(5000); }
    };
    const tell = async () => { s.told = Date.now(); try { heard(await ask("POST")); } catch { s.told = 0; } };
    const busy = () => { if (Date.now() - s.told > TELL_EVERY_MS && s.ends - Date.now() > WARN_SECONDS * 1000) tell(); };
    const woken = () => { if (!document.hidden) look(); };
    s.stay = tell;
    const forget = () => { typed = null; };
    for (const kind of ["pointerdown", "keydown", "wheel", "touchstart"]) window.addEventListener(kind, busy, { passive: true });
    document.addEventListener("input", remember);
    document.addEventListener("submit", forget);
    document.addEventListener("visibilitychange", woken);
    ask("GET").then(heard, () => plan(5000));
    return () => {
      gone = true; clearTimeout(s.timer); undo && undo();
      for (const kind of ["pointerdown", "keydown", "wheel", "touchstart"]) window.removeEventListener(kind, busy);
      document.removeEventListener("input", remember);
      document.removeEventListener("submit", forget);
      document.removeEventListener("visibilitychange", woken);
    };
  }, [who]);

  if (who !== "in" || left <= 0) return null;
  return <section className="stays" aria-label="Your session">
    <div className="note warn"><svg className="i" aria-hidden="true"><use href="/glyphs.svg#i-clock" /></svg>
      <span className="grow" role="alert"><b className="b">You will be signed out in <time aria-hidden="true">{minutes(left)}</time><span className="hush"> less than two minutes</span>.</b> {last ? "No session lasts longer. Sign in again then; what you typed is kept." : "Nobody seems to be here."}</span>
      {!last && <button className="link" type="button" onClick={() => state.current.stay()}>Stay signed in</button>}
    </div></section>;
}
