package org.example.shop;

import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.logging.Logger;

/** A page of the shop: parameters, answers, and a note when it took long. */
abstract class Page extends HttpServlet {
    private static final long serialVersionUID = 1;
    private static final Logger SLOW = Logger.getLogger("org.example.shop.Slow");
    protected final transient Logger log = Logger.getLogger(getClass().getName());

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response)
            throws ServletException, IOException {
        long started = System.currentTimeMillis();
        log.fine(() -> request.getMethod() + " " + request.getRequestURI() + " for " + who(request));
        try {
            super.service(request, response);
        } finally {
            long took = System.currentTimeMillis() - started;
            if (took > 500) {
                SLOW.info(request.getMethod() + " " + request.getRequestURI() + " took " + took + " ms");
            }
        }
    }

    /** A number in the request, or `otherwise` when there is none. */
    static int number(HttpServletRequest request, String name, int otherwise) {
        String text = request.getParameter(name);
        return text == null ? otherwise : Integer.parseInt(text);
    }

    /** The customer of the session, if there is one. */
    static String who(HttpServletRequest request) {
        Object name = request.getSession(false) == null ? null : request.getSession(false).getAttribute("name");
        return name == null ? "a guest" : name.toString();
    }

    static void answer(HttpServletResponse response, int status, String text) throws IOException {
        response.setStatus(status);
        response.setContentType("text/plain");
        response.getWriter().println(text);
    }
}
