// Ctrl+K. items: [{id, group, text, hint, icon, glyph, href, tab, run, key, words}]; nothing is sent until one is chosen.
import { useEffect, useMemo, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { useNavigate } from "react-router";
import * as Dialog from "@radix-ui/react-dialog";

const LAST = "cmb.palette";
const last = () => { try { return JSON.parse(localStorage.getItem(LAST) || "[]"); } catch { return []; } };
const keep = (id) => { try { localStorage.setItem(LAST, JSON.stringify([id, ...last().filter((x) => x !== id)].slice(0, 5))); } catch { /* no storage, no memory */ } };

function Bold({ text, word }) {
  const at = word ? text.toLowerCase().indexOf(word) : -1;
  if (at < 0) return text;
  return <>{text.slice(0, at)}<b className="hit">{text.slice(at, at + word.length)}</b>{text.slice(at + word.length)}</>;
}

function found(items, query) {
  if (!query) {
    const ids = last(), used = ids.map((id) => items.find((i) => i.id === id)).filter(Boolean);
    return [...used.map((i) => ({ ...i, group: "Last used" })), ...items.filter((i) => !used.includes(i) && (!i.deep))];
  }
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return items.filter((i) => { const t = `${i.text} ${i.hint || ""} ${i.words || ""}`.toLowerCase(); return words.every((w) => t.includes(w)); }).slice(0, 40);
}

export function Palette({ items = [], onRun }) {
  const [open, set] = useState(false), [query, ask] = useState(""), [n, go] = useState(0), back = useRef(null), box = useRef(null), navigate = useNavigate();
  const hits = useMemo(() => (open ? found(items, query.trim()) : []), [items, query, open]);
  const groups = useMemo(() => { const g = []; hits.forEach((h, k) => { const l = g[g.length - 1]; if (l && l.name === h.group) l.rows.push([h, k]); else g.push({ name: h.group, rows: [[h, k]] }); }); return g; }, [hits]);
  useEffect(() => {
    // At once, so that the next key is typed into it and not into the page.
    const show = () => { back.current = document.activeElement; flushSync(() => { ask(""); go(0); set(true); }); };
    window.addEventListener("cmb:palette", show);
    return () => window.removeEventListener("cmb:palette", show);
  }, []);
  useEffect(() => {
    const app = document.querySelector(".app");
    if (!app || !open) return;
    app.inert = true;
    return () => { app.inert = false; };
  }, [open]);
  useEffect(() => { box.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }); }, [n, query]);
  const run = (h, aside) => {
    if (!h) return;
    keep(h.id);
    set(false);
    if (h.event) { setTimeout(() => window.dispatchEvent(new Event(h.event)), 60); return; }
    if (h.post) { document.getElementById(h.post)?.requestSubmit(); return; }
    if (h.href && (h.tab || aside)) { window.open(h.href, "_blank", "noopener"); return; }
    if (h.href) { navigate(h.href); return; }
    onRun && onRun(h.run);
  };
  const word = query.trim().toLowerCase().split(/\s+/)[0] || "";
  return <Dialog.Root open={open} onOpenChange={set}><Dialog.Portal><Dialog.Overlay className="veil pal-veil">
    <Dialog.Content className="dlg pal" aria-describedby={undefined} onCloseAutoFocus={(e) => { e.preventDefault(); const b = back.current; (b && b.isConnected && b !== document.body ? b : document.getElementById("content"))?.focus(); }}>
      <Dialog.Title className="hush">Search or run a command</Dialog.Title>
      <div className="pal-in"><svg className="i s20" aria-hidden="true"><use href="/glyphs.svg#i-search" /></svg>
        <input role="combobox" aria-expanded={hits.length > 0} aria-controls="pal" aria-activedescendant={hits.length ? `pal-${n}` : undefined} aria-label="Search or run a command" placeholder="Search or run…" autoComplete="off" spellCheck="false" value={query}
          onChange={(e) => { ask(e.target.value); go(0); }}
          onKeyDown={(e) => {
            if (e.key === "ArrowDown") { e.preventDefault(); go((k) => Math.min(hits.length - 1, k + 1)); }
            else if (e.key === "ArrowUp") { e.preventDefault(); go((k) => Math.max(0, k - 1)); }
            else if (e.key === "Enter") { e.preventDefault(); run(hits[n], e.ctrlKey || e.metaKey); }
          }} />
        <Dialog.Close asChild><button type="button" className="btn flat sm"><kbd>Esc</kbd><span className="hush"> closes</span></button></Dialog.Close></div>
      <div id="pal" role="listbox" aria-label="Results" tabIndex={0} ref={box}>
        {groups.map((g, gi) => <div role="group" aria-labelledby={`pg-${gi}`} key={g.name + gi}><div className="pg" id={`pg-${gi}`}>{g.name}</div>
          {g.rows.map(([h, k]) => <div id={`pal-${k}`} role="option" aria-selected={k === n} className="pi" key={h.id} onMouseMove={() => k !== n && go(k)} onClick={(e) => run(h, e.ctrlKey || e.metaKey)}>
            <svg className={h.glyph ? `g s16 ${h.family || ""}` : "i"} aria-hidden="true"><use href={`/glyphs.svg#${h.glyph ? `g-${h.glyph}` : `i-${h.icon || "right"}`}`} /></svg>
            <span className="nm cut"><Bold text={h.text} word={word} /></span><span className="three sm cut"><Bold text={h.hint || ""} word={word} /></span>
            <span className="push row gap4">{(h.key || "").split(" ").filter(Boolean).map((x) => <kbd key={x}>{x}</kbd>)}{k === n && <kbd>↵</kbd>}</span></div>)}</div>)}
        {!hits.length && <div className="empty sm two" role="presentation">Nothing is called “{query}”. Try a part of a name.</div>}
      </div>
      <div className="hush" role="status">{query ? `${hits.length} ${hits.length === 1 ? "result" : "results"}` : ""}</div>
      <footer className="sm three"><span className="row gap4"><kbd>↑</kbd><kbd>↓</kbd> choose</span><span className="row gap4"><kbd>↵</kbd> run</span><span className="row gap4"><kbd>Ctrl</kbd><kbd>↵</kbd> in a new tab</span><span className="push row gap4"><kbd>?</kbd> all shortcuts</span></footer>
    </Dialog.Content></Dialog.Overlay></Dialog.Portal></Dialog.Root>;
}
