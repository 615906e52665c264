package org.example.shop;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Customers come and go: `/login`, `/logout`, `/cart`. An account is locked for two seconds after eight wrong passwords. */
public final class CustomerPage extends Page {
    private static final long serialVersionUID = 1;
    private static final Map<String, Integer> MISTAKES = new ConcurrentHashMap<>();
    private static final Map<String, Long> LOCKED = new ConcurrentHashMap<>();

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        switch (request.getServletPath()) {
            case "/login" -> login(request, response);
            case "/logout" -> logout(request, response);
            default -> cart(request, response);
        }
    }

    private void login(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String name = request.getParameter("name");
        if (LOCKED.getOrDefault(name, 0L) > System.currentTimeMillis()) {
            log.warning("login refused: account " + name + " is locked");
            answer(response, 423, "locked");
        } else if (!("secret-" + name).equals(request.getParameter("password"))) {
            int mistakes = MISTAKES.merge(name, 1, Integer::sum);
            log.warning("login failed for " + name + ": wrong password, mistake " + mistakes);
            if (mistakes >= 8) {
                MISTAKES.remove(name);
                LOCKED.put(name, System.currentTimeMillis() + 2000);
                log.warning("account " + name + " locked for 2000 ms");
            }
            answer(response, 401, "wrong");
        } else {
            MISTAKES.remove(name);
            HttpSession session = request.getSession();
            session.setAttribute("name", name);
            log.info(name + " logged in with session " + session.getId().substring(0, 10));
            answer(response, 200, "welcome");
        }
    }

    private void logout(HttpServletRequest request, HttpServletResponse response) throws IOException {
        HttpSession session = request.getSession(false);
        if (session == null) {
            log.warning("logout without a session");
            answer(response, 400, "no session");
            return;
        }
        log.info(who(request) + " logged out");
        session.invalidate();
        answer(response, 200, "bye");
    }

    private void cart(HttpServletRequest request, HttpServletResponse response) throws IOException {
        HttpSession session = request.getSession();
        Object before = session.getAttribute("cart");
        int pieces = (before == null ? 0 : (Integer) before) + number(request, "pieces", 1);
        session.setAttribute("cart", pieces);
        log.info("cart of " + who(request) + " holds " + pieces + " pieces");
        answer(response, 200, "" + pieces);
    }
}
