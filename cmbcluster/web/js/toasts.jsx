// Short messages about what is done. items: [{id, text, note, act, tone}]; each id is shown once in a tab; needs no eval.
import { useEffect, useRef, useState } from "react";

const GLYPH = { ok: "g-done", bad: "g-failed", run: "g-running", "": "i-info" };
// The state brings its last messages again after each load of a page, so what was shown outlives the page.
const SHOWN = "cmb.toasts", KEPT = 40;
const shownBefore = () => { try { return new Set(JSON.parse(sessionStorage.getItem(SHOWN) || "[]")); } catch { return new Set(); } };
const remember = (ids) => { try { sessionStorage.setItem(SHOWN, JSON.stringify([...ids].slice(-KEPT))); } catch { /* known until the page is left */ } };

export function Toasts({ items = [], onAct }) {
  const seen = useRef(null), [shown, set] = useState([]), held = useRef(false), hold = (v) => () => { held.current = v; };
  useEffect(() => {
    if (!seen.current) seen.current = shownBefore();
    const fresh = items.filter((i) => !seen.current.has(i.id));
    fresh.forEach((i) => seen.current.add(i.id));
    if (!fresh.length) return;
    remember(seen.current);
    set((s) => [...s.filter((old) => !old.about || !fresh.some((i) => i.about === old.about)), ...fresh.map((i) => ({ ...i, left: i.act || i.tone === "bad" ? 8 : 4 }))].slice(-3));
  }, [items]);
  useEffect(() => {
    if (!shown.length) return;
    const t = setInterval(() => { if (!held.current && !document.hidden) set((s) => s.map((i) => ({ ...i, left: i.left - 0.5 })).filter((i) => i.left > 0)); }, 500);
    return () => clearInterval(t);
  }, [shown.length > 0]);
  const drop = (id) => set((s) => s.filter((x) => x.id !== id));
  return <section className="toasts" aria-label="Messages" aria-live="polite" onMouseEnter={hold(true)} onMouseLeave={hold(false)} onFocus={hold(true)} onBlur={hold(false)}>
    {shown.map((i) => <div className="toast" key={i.id}>
      <span className={i.tone === "bad" ? "bad-i" : "ok-i"}><svg className={i.tone ? `g ${i.tone === "bad" ? "bad" : "ok"}` : "i"} aria-hidden="true"><use href={`/glyphs.svg#${GLYPH[i.tone] || GLYPH[""]}`} /></svg></span>
      <div className="grow"><div className="b">{i.text}</div>{i.note && <div className="two">{i.note}</div>}</div>
      {i.act && (i.href
        ? <a className="link" href={i.href} target={i.tab ? "_blank" : undefined} rel="noopener">{i.act}</a>
        : <button className="link" type="button" onClick={() => { drop(i.id); onAct && onAct(i.run); }}>{i.act}</button>)}
      <button className="btn flat sq sm toast-x" type="button" aria-label="Close" title="Close" onClick={() => { held.current = false; drop(i.id); }}><svg className="i s14" aria-hidden="true"><use href="/glyphs.svg#i-x" /></svg></button>
    </div>)}
  </section>;
}
