import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.cloud.netflix.eureka.server.EnableEurekaServer;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.web.SecurityFilterChain;

/** Eureka as the project's documentation sets it up; with -Dauth=on whoever asks must say who they are. */
@Configuration
@EnableAutoConfiguration
@EnableEurekaServer
public class EurekaMain {
    public static void main(String[] arguments) {
        SpringApplication.run(EurekaMain.class, arguments);
    }

    @Bean
    SecurityFilterChain guarded(HttpSecurity http) throws Exception {
        boolean open = !"on".equals(System.getProperty("auth"));
        http.authorizeHttpRequests(requests -> {
            var all = requests.anyRequest();
            if (open) {
                all.permitAll();
            } else {
                all.authenticated();
            }
        });
        return http.httpBasic(Customizer.withDefaults()).csrf(csrf -> csrf.disable()).build();
    }
}
