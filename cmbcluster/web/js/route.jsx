// On a change of page: focus to main, and its title is announced. Lives above the pages, which are mounted anew each time.
import { useEffect, useRef, useState } from "react";
import { useLocation } from "react-router";

export function RouteFocus() {
  const { pathname, search } = useLocation(), first = useRef(true), [said, say] = useState("");
  useEffect(() => {
    if (first.current) { first.current = false; return; }
    window.scrollTo(0, 0);
    // The new page may arrive a moment later and take the focused one away: looked at again, unless somebody moved on.
    const take = () => document.getElementById("content")?.focus({ preventScroll: true });
    const free = () => { if (!document.activeElement || document.activeElement === document.body) take(); };
    const all = [setTimeout(() => { take(); say(document.title); }, 60), setTimeout(free, 250), setTimeout(free, 700)];
    return () => all.forEach(clearTimeout);
  }, [pathname]);
  // On a phone the tabs of a page scroll; the one that is shown is in view.
  useEffect(() => {
    const t = setTimeout(() => document.querySelector(".subnav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), 80);
    return () => clearTimeout(t);
  }, [pathname, search]);
  return <div className="hush" role="status" aria-live="polite">{said}</div>;
}

// Said after three seconds without a connection, gone when it is back.
export function Lost({ gone = false }) {
  const [since, set] = useState(0), [age, grow] = useState(0);
  useEffect(() => {
    if (!gone) { set(0); grow(0); return; }
    const start = Date.now(), t = setInterval(() => { const s = Math.round((Date.now() - start) / 1000); if (s >= 3) set(start); grow(s); }, 1000);
    return () => clearInterval(t);
  }, [gone]);
  return <div role="status" aria-live="polite">{since > 0 && <div className="lost"><b className="b">Reconnecting.</b><span aria-hidden="true">What you see may be up to {Math.ceil(age / 10) * 10} s old.</span></div>}</div>;
}
